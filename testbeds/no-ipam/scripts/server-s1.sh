set -e
ip addr flush dev eth0
ip addr add 10.3.0.2/16 dev eth0
ip route replace default via 10.3.0.1
exec sleep infinity
