#!/usr/bin/perl
# Cuts the network card of the container whose network this one shares, in the middle of the job, and mends it. Needs
# CAP_NET_ADMIN. In Perl because the slim images have it, and no program that can do this.
use strict;
use warnings;
use Socket;

my $middle  = '/swarm/job-in-the-middle';
my $seconds = $ENV{CUT_SECONDS} || 5;

# linux/sockios.h, linux/if.h, linux/route.h
use constant { SIOCADDRT => 0x890B, SIOCGIFFLAGS => 0x8913, SIOCSIFFLAGS => 0x8914 };
use constant { IFF_UP => 0x1, RTF_UP => 0x1, RTF_GATEWAY => 0x2 };

$| = 1;
socket(my $socket, AF_INET, SOCK_DGRAM, 0) or die "socket: $!\n";

# The card of the default route, whatever its name: after a network was taken away and given back it has another one.
sub card {
    open(my $routes, '<', '/proc/net/route') or die "routes: $!\n";
    while (<$routes>) {
        my ($interface, $target, $gateway) = split;
        return ($interface, pack('L', hex $gateway)) if $target eq '00000000';
    }
    die "no default route, so no card to cut\n";
}

my ($card, $gateway) = card();

sub flags {
    my $request = pack('a16 s x22', $card, 0);
    ioctl($socket, SIOCGIFFLAGS, $request) or die "flags of $card: $!\n";
    return (unpack('a16 s', $request))[1];
}

sub set_up {
    my ($up) = @_;
    my $flags = $up ? flags() | IFF_UP : flags() & ~IFF_UP;
    ioctl($socket, SIOCSIFFLAGS, pack('a16 s x22', $card, $flags)) or die "setting $card: $!\n";
}

# The default route goes with the card and does not come back with it.
sub add_default_route {
    my $any = pack_sockaddr_in(0, INADDR_ANY);
    # struct rtentry on 64-bit machines.
    my $route = pack('x8 a16 a16 a16 S x22 s x6 x32', $any, pack_sockaddr_in(0, $gateway), $any, RTF_UP | RTF_GATEWAY, 0);
    ioctl($socket, SIOCADDRT, $route) or die "default route: $!\n";
}

# One that is older than this process ($^T) was left by a job that was broken off.
select(undef, undef, undef, 0.1) until -e $middle && (stat _)[9] >= $^T;
set_up(0);
print "cut $card in the middle of the job\n";
sleep $seconds;
set_up(1);
add_default_route();
print "$card is back after $seconds s\n";
# An end of this container would be taken for the end of the demo.
sleep 60 while 1;
