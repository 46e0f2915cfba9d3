#!/usr/bin/perl
# Kills the daemon of the container whose processes this one sees, once, in the middle of the job. Its member.sh starts it
# again.
use strict;
use warnings;

my $middle = '/swarm/job-in-the-middle';

$| = 1;
# One that is older than this process ($^T) was left by a job that was broken off.
select(undef, undef, undef, 0.1) until -e $middle && (stat _)[9] >= $^T;
for my $process (glob '/proc/[0-9]*') {
    open(my $file, '<', "$process/cmdline") or next;
    my $words = join ' ', split /\0/, <$file> // '';
    my ($pid) = $process =~ /(\d+)$/;
    next unless $words =~ /^\S*node \S*starling up\b/;
    kill 'KILL', $pid or die "kill $pid: $!\n";
    print "killed the daemon (pid $pid) in the middle of the job\n";
}
# An end of this container would be taken for the end of the demo.
sleep 60 while 1;
