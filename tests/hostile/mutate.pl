# mutate.pl: prints one of the given files with some random changes: bytes,
# lines, and above all values replaced by others that mean something somewhere.
#
#     mutate.pl SEED FILE…
use strict;
use warnings;

my ($seed, @files) = @ARGV;
srand $seed;
sub pick { return $_[int rand @_] }

my @values = (
    qw(0 -1 1 2 3 7 1e-5 1e999 true false none ~ null [] {} "" 'x' .nan .inf),
    qw(2147483647 2147483648 9223372036854775807 1048576 1048577 64 63 16),
    qw(full causal rotary learned sinusoidal alibi layernorm rmsnorm post gelu),
    qw(block attention auto 1KiB sgd adam wsd linear qkv ['*'] [blocks.0.*]),
    qw(*a &a !!int | > [1] {a: 0x10 blocks.0), '{rotary: {}}', '[0.9, 0.9]',
    '{rotary: {base: 5}}', '{rotary: {scaling: {llama3: {}}}}');

sub mutate {
    my ($text) = @_;
    my $at = int rand(1 + length $text);
    my @lines = split /^/, $text;
    my $kind = int rand 10;
    if ($kind == 0) {
        substr($text, $at, 1 + int rand 6) = '';
    } elsif ($kind == 1) {
        substr($text, $at, 0) = chr int rand 256;
    } elsif ($kind == 2) {
        splice @lines, int rand @lines, 1;
        $text = join '', @lines;
    } elsif ($kind == 3) {
        splice @lines, int rand @lines, 0, pick(@lines);
        $text = join '', @lines;
    } else {
        my @found;
        push @found, [$-[1], $+[1] - $-[1]]
            while $text =~ /(?::\s|\{|,\s)\s*([^\s,{}\[\]:#]+)(?=[,}\n])/g;
        my $value = @found ? pick(@found) : [0, 0];
        substr($text, $value->[0], $value->[1]) = pick(@values);
    }
    return $text;
}

open my $file, '<:raw', pick(@files) or die "cannot read a file: $!\n";
my $text = do { local $/; <$file> };
$text = mutate($text) for 1 .. pick(1, 1, 1, 2, 3);
binmode STDOUT;
print $text;
