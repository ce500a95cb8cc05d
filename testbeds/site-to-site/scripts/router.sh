#!/bin/sh
# The router plays the Internet. Docker keeps .1 for itself, so it is taken here.
ip addr add 172.26.26.1/24 dev eth0
ip addr add 172.27.27.1/24 dev eth1
ip addr add 172.28.28.1/24 dev eth2
ip route del default
ip route add unreachable 10.0.0.0/8
exec sleep infinity
