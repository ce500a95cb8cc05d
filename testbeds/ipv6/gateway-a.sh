ip -6 addr add fc00:4300:a::1/64 dev eth1
ip -6 route del default 2>/dev/null
ip -6 route add default via fc00:4300:aaea::1
exec sleep infinity
