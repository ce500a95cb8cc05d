set -e
ip addr flush dev eth0
ip addr add 10.3.0.1/16 dev eth0
ip addr flush dev eth1
ip addr add 172.28.28.28/24 dev eth1
ip route replace default via 172.28.28.1
iptables -P FORWARD DROP
iptables -A FORWARD -d 10.3.0.0/16 -j ACCEPT
iptables -A FORWARD -s 10.3.0.0/16 -j ACCEPT
exec sleep infinity
