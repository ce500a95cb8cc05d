#!/bin/sh
ip addr add 10.3.0.1/16 dev eth0
ip route del default
ip route add default via 172.28.28.1
iptables -P INPUT DROP
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -i eth1 -p udp -m multiport --dports 500,4500 -j ACCEPT
iptables -A INPUT -i eth1 -p esp -j ACCEPT
rm -f /var/run/charon.pid /var/run/starter.charon.pid
exec ipsec start --nofork
