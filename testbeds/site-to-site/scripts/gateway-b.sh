#!/bin/sh
ip addr add 10.2.0.1/16 dev eth1
ip route del default
ip route add default via 172.27.27.1
iptables -P INPUT DROP
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -i eth0 -p udp -m multiport --dports 500,4500 -j ACCEPT
iptables -A INPUT -i eth0 -p esp -j ACCEPT
rm -f /var/run/charon.pid /var/run/starter.charon.pid
exec ipsec start --nofork
