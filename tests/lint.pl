# lint.pl: the rules that conventions.md marks [lint], a subroutine each over a
# file's lines. See lint.sh, which says how it is called.
use strict;
use warnings;
use utf8;

# Widths are of characters. (Debian's perl-base has no module `open`.)
binmode $_, ':utf8' for *STDOUT, *STDERR;

my $measure = @ARGV && $ARGV[0] eq '--measure' && shift;

# ---- which kinds of files a rule is for -----------------------------------------
# Kernels, tables and tests may be wider; kernels are read a loop nest at a time.
sub is_c      { $_[0] =~ /\.[ch]$/ }
sub is_kernel { $_[0] =~ m{^runtime/kernels/} }
sub is_wide   { is_kernel($_[0]) || $_[0] =~ m{\.def$|^tests/} }
sub is_code   { $_[0] =~ m{\.(c|h|S|def|sh|awk|pl|py)$|Makefile$|^\.ci/run$} }
sub is_ours   { $_[0] =~ m{^(compiler|ir|passes)/} }
sub is_main   { $_[0] =~ m{^(compiler|runtime)/main\.c$} }

# ---- the arrows: directory => what it may include from elsewhere ------------------
# The interpreter computes with the runtime's lanes, tables and elementary
# functions, which is how it has the program's bits; prog_library.c and prog.c
# read program.def, the one description of what a program tells the runtime.
my %arrows = (
    'ir'              => qr{^ir/},
    'passes'          => qr{^(ir|passes)/},
    'compiler'        => qr{^(compiler|ir|passes|runtime)/},
    'runtime'         => qr{^runtime/},
);
my %arrow_exceptions = (
    qr{^ir/(interpret\w*|canonical)\.c$} => qr{^runtime/(tables|elementary|kernels/lanes)\.h$},
    qr{^ir/prog\w*\.[ch]$} => qr{^runtime/program\.(def|h)$},
);

# `a/b/../c` is `a/c`.
sub simplified {
    my $path = shift;
    1 while $path =~ s{(^|/)(?!\.\.)[^/]+/\.\./}{$1};
    return $path;
}

sub includes {
    my ($file, @lines) = @_;
    return unless $file =~ m{^(compiler|ir|passes|runtime)/};
    my $directory = $1;
    my @found;
    for my $i (0 .. $#lines) {
        next unless $lines[$i] =~ /^\s*#\s*include\s+"([^"]+)"/;
        my $included = $1;
        my $target = simplified($file =~ s{[^/]*$}{}r . $included);
        next if $target =~ $arrows{$directory};
        next if grep { $file =~ $_ && $target =~ $arrow_exceptions{$_} }
            keys %arrow_exceptions;
        push @found, [$i + 1, "$directory/ includes $target"];
    }
    # An emitter prints a Prog and decides nothing; a pass calls no other pass.
    for my $i (0 .. $#lines) {
        push @found, [$i + 1, 'an emitter includes a pass']
            if $file =~ m{^compiler/(emit|llvm/)} &&
            $lines[$i] =~ m{^\s*#\s*include\s+"[^"]*passes/};
    }
    return @found;
}

# ---- lengths ------------------------------------------------------------------
sub width {
    my ($file, @lines) = @_;
    return unless is_code($file);
    my $limit = is_wide($file) ? 100 : 80;
    return map { [$_ + 1, length($lines[$_]) . " columns, of $limit"] }
        grep { length($lines[$_]) > $limit } 0 .. $#lines;
}

sub file_length {
    my ($file, @lines) = @_;
    return unless is_code($file) && @lines > 800;
    return [801, scalar(@lines) . ' lines, of 800'];
}

# A function begins with `{` in the first column and ends with `}` alone there.
sub functions {
    my @lines = @_;
    my (@all, $start, $signature);
    for my $i (0 .. $#lines) {
        if ($lines[$i] eq '{') {
            my $first = $i;
            $first-- while $first > 0 && $lines[$first - 1] !~ /^$|[;}]\s*$|\*\/\s*$|^#/;
            ($start, $signature) = ($i, join ' ', @lines[$first .. $i - 1]);
        } elsif ($lines[$i] eq '}' && defined $start) {
            push @all, { first => $start, last => $i, signature => $signature };
            undef $start;
        }
    }
    return @all;
}

sub function_length {
    my ($file, @lines) = @_;
    return unless is_c($file) && !is_kernel($file);
    return map { [$_->{first} + 1, $_->{last} - $_->{first} + 1 . ' lines, of 60'] }
        grep { $_->{last} - $_->{first} + 1 > 60 } functions(@lines);
}

sub parameters {
    my ($file, @lines) = @_;
    return unless is_c($file) && !is_kernel($file);
    my @found;
    for my $function (functions(@lines)) {
        my ($list) = $function->{signature} =~ /\((.*)\)/ or next;
        1 while $list =~ s/\([^()]*\)//g;
        my $count = 1 + ($list =~ tr/,//);
        push @found, [$function->{first} + 1, "$count parameters, of 6"] if $count > 6;
    }
    return @found;
}

# A statement that holds others is indented by four columns a level.
sub nesting {
    my ($file, @lines) = @_;
    return unless is_c($file);
    my @found;
    for my $function (functions(@lines)) {
        for my $i ($function->{first} .. $function->{last}) {
            push @found, [$i + 1, 'nested more than 3 deep']
                if $lines[$i] =~ /^ {16,}(if|for|while|switch|do)\b/;
        }
    }
    return @found;
}

# ---- what may not be there ------------------------------------------------------
sub words {
    my ($file, @lines) = @_;
    return if $file eq 'tests/lint.pl';
    my @found;
    for my $i (0 .. $#lines) {
        push @found, [$i + 1, "`$1`"]
            if $lines[$i] =~ /\b(TODO|FIXME|XXX)\b/ ||
            $lines[$i] =~ /\b(keep in sync)\b/i ||
            $lines[$i] =~ m#(?<![\w.\}])(/(?:work|root|home)/)#;
    }
    return @found;
}

sub exits {
    my ($file, @lines) = @_;
    return unless is_c($file) && $file !~ /^tests/ && !is_main($file);
    return map { [$_ + 1, '`exit` outside main'] }
        grep { $lines[$_] =~ /(?<![\w"])exit\s*\(/ } 0 .. $#lines;
}

sub globals {
    my ($file, @lines) = @_;
    return unless is_c($file) && is_ours($file);
    my @found;
    for my $i (0 .. $#lines) {
        push @found, [$i + 1, 'getenv'] if $lines[$i] =~ /\b(secure_)?getenv\s*\(/;
        push @found, [$i + 1, 'a mutable global']
            if $lines[$i] =~ /^(static\s+)?[A-Za-z]\w*[\w\s\*]*\b\w+(\[[^]]*\])*\s*(=|;)/ &&
            $lines[$i] !~ /\bconst\b|^(typedef|extern|enum|struct|union|return|goto)\b|\(/;
        push @found, [$i + 1, 'a mutable static']
            if $lines[$i] =~ /^\s+static\b(?!.*\bconst\b)(?!\s+inline)(?!.*\()/;
    }
    return @found;
}

sub head_comment {
    my ($file, @lines) = @_;
    my $first = $lines[0] // '';
    return if $file =~ /\.md$|\.svg$|completions/ || !@lines;
    if ($first =~ /^#!/) {
        return if ($lines[1] // '') =~ /^# ?\S|^"""/;
    } else {
        return if $first =~ m{^/\* ?\S|^# ?\S|^"""|^\.\\"};
    }
    return [1, 'does not open with a paragraph about the file'];
}

# ---- all of them ------------------------------------------------------------------
my @rules = (
    [includes => \&includes], [width => \&width], ['file-length' => \&file_length],
    ['function-length' => \&function_length], [parameters => \&parameters],
    [nesting => \&nesting], [words => \&words], [exit => \&exits],
    [globals => \&globals], ['head-comment' => \&head_comment],
);

my %known;
if (!$measure && open my $list, '<', 'tests/lint.known') {
    while (<$list>) {
        $known{"$1 $2"} = $3 if /^(\S+) (\S+) (\d+)$/;
    }
}

my ($passed, $failed, $tolerated) = (0, 0, 0);
for my $file (@ARGV) {
    open my $in, '<:utf8', $file or die "$file: $!\n";
    chomp(my @lines = <$in>);
    my $bad = 0;
    for my $rule (@rules) {
        my ($name, $check) = @$rule;
        my @found = $check->($file, @lines);
        next unless @found;
        if ($measure) {
            print "$file $name ", scalar(@found), "\n";
        } elsif (@found <= ($known{"$file $name"} // 0)) {
            $tolerated += @found;
        } else {
            $bad = 1;
            print "$file:$_->[0]: $name: $_->[1]\n" for @found[0 .. ($#found > 9 ? 9 : $#found)];
            print "$file: $name: ", scalar(@found), " places, ", $known{"$file $name"} // 0,
                " known\n";
        }
    }
    $bad ? $failed++ : $passed++;
}
exit 0 if $measure;
print "$tolerated places over a limit are listed in tests/lint.known\n" if $tolerated;
print "lint: $passed passed, $failed failed\n";
exit($failed != 0);
