#!/bin/sh
ip route del default
ip route add default via "$1"
exec sleep infinity
