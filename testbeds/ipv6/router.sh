ip -6 addr add fc00:4300:aaea::1/64 dev eth0
ip -6 addr add fc00:4300:aaeb::1/64 dev eth1
ip -6 addr add fc00:4300:aaec::1/64 dev eth2
ip -6 route add fc00:4300:a::/64 via fc00:4300:aaea::2
ip -6 route add fc00:4300:b::/64 via fc00:4300:aaeb::2
ip -6 route add fc00:4300:c::/64 via fc00:4300:aaec::2
exec sleep infinity
