ip -6 addr add fc00:4300:c::1/64 dev eth0
ip -6 route del default 2>/dev/null
ip -6 route add default via fc00:4300:aaec::1
exec sleep infinity
