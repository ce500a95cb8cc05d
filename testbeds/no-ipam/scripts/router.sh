set -e
ip addr flush dev eth0
ip addr add 172.26.26.1/24 dev eth0
ip addr flush dev eth1
ip addr add 172.27.27.1/24 dev eth1
ip addr flush dev eth2
ip addr add 172.28.28.1/24 dev eth2
ip route add 10.1.0.0/16 via 172.26.26.26
ip route add 10.2.0.0/16 via 172.27.27.27
ip route add 10.3.0.0/16 via 172.28.28.28
exec sleep infinity
