# Makes system calls, each in a process of its own that is confined as a process of popward. The guest has no C compiler,
# and its Python cannot make any system call.
#
#   perl probe.pl ENTRY <CALLS
#
# ENTRY is what confines a process when it writes that to its attr/current. A line of CALLS has a user id, the number of a
# system call and its arguments (sTEXT, iNUMBER, or c: the descriptor of its attr/current), with tabs between them. The
# answer to each is a line with the id of the process and the error number: 0 if the call succeeded, 254 if the process
# could not be confined, 255 if it was killed.
use strict;
use warnings;

my ($SET_FLAGS, $CLOSE_ON_EXEC) = (2, 1);
my ($SETRESUID, $SETRESGID, $SETGROUPS, $PRCTL, $SET_DUMPABLE) = (117, 119, 116, 157, 4);
my $entry = shift;
$| = 1;

sub act {
    my ($user, $number, @arguments) = @_;
    if ($user) {
        syscall($SETGROUPS, 0, 0) == 0 && syscall($SETRESGID, $user, $user, $user) == 0
            && syscall($SETRESUID, $user, $user, $user) == 0 or return 254;
        # Otherwise root owns its attr/current.
        syscall($PRCTL, $SET_DUMPABLE, 1, 0, 0, 0);
    }
    open(my $own, '>', '/proc/thread-self/attr/current') or return 254;
    syswrite($own, $entry) or return 254;
    # A program that is executed gets no descriptor.
    fcntl($_, $SET_FLAGS, $CLOSE_ON_EXEC) for *STDIN, *STDOUT, *STDERR;
    my @values = map { /^c/ ? fileno($own) : /^s/ ? substr($_, 1) : 0 + substr($_, 1) } @arguments;
    return syscall($number, @values) < 0 ? 0 + $! : 0;
}

while (my $line = <STDIN>) {
    chomp $line;
    my $child = fork() // die "fork: $!";
    exit act(split(/\t/, $line)) unless $child;
    waitpid($child, 0);
    printf "%d %d\n", $child, $? & 127 ? 255 : $? >> 8;
}
