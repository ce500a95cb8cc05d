#!/bin/sh
ip route del default
ip route add default via "$GATEWAY"
mkdir -p /srv/www && echo "server-s1" > /srv/www/index.html
exec busybox httpd -f -p 8080 -h /srv/www
