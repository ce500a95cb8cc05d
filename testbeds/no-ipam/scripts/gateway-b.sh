set -e
ip addr flush dev eth0
ip addr add 172.27.27.27/24 dev eth0
ip addr flush dev eth1
ip addr add 10.2.0.1/16 dev eth1
ip route replace default via 172.27.27.1
exec sleep infinity
