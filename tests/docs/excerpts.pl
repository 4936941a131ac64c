# excerpts.pl: a page with its excerpts taken anew: excerpts.pl PAGE DIRECTORY.
#
# `<!-- FILE: FIRST … LAST -->` before a block of code says where it comes from: the
# lines of DIRECTORY/FILE from the first that begins with FIRST to the next that
# begins with LAST. A block whose lines are not there becomes an error message.
use strict;
use warnings;

my ($page, $directory) = @ARGV;

sub lines_of {
    my $file = shift;
    open my $in, '<', $file or die "$file: $!\n";
    return <$in>;
}

sub excerpt {
    my ($file, $first, $last) = @_;
    my @found;
    for my $line (lines_of("$directory/$file")) {
        next if !@found && index($line, $first) != 0;
        push @found, $line;
        return @found if @found > 1 && index($line, $last) == 0;
    }
    return "no lines from `$first` to `$last` in $file\n";
}

my ($inside, @wanted);
for my $line (lines_of($page)) {
    @wanted = ($1, $2, $3) if $line =~ /^<!-- (\S+): (.*) … (.*) -->$/;
    print $line unless $inside && $line ne "```\n";
    if ($line =~ /^```\w+$/ && @wanted) {
        $inside = 1;
        print excerpt(@wanted);
    } elsif ($line eq "```\n") {
        $inside = 0;
        @wanted = ();
    }
}
