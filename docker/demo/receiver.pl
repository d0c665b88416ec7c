#!/usr/bin/perl
# Stands in for Slack and JIRA: prints what they would get, and answers as they do, as far as `backup` asks. Core Perl only,
# which a bare Debian has.  receiver.pl [PORT]   GET / shows all of it so far.
use strict;
use warnings;
use IO::Socket::INET;
$| = 1;
$SIG{TERM} = $SIG{INT} = sub { exit 0 };
$SIG{PIPE} = 'IGNORE';
my $port = shift // 8080;
my $server = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $port, Listen => 64, ReuseAddr => 1) or die "port $port: $!\n";
my (@seen, @tickets);

sub text_of { my $json = shift; $json =~ s/\\(["\\\/])/$1/g; $json }

# a ticket as JIRA shows it: number, labels, whether it is done, comments
sub ticket {
    my $t = shift;
    my $category = $t->{done} ? 'done' : 'new';
    my $labels = join ',', map { "\"$_\"" } @{ $t->{labels} };
    my $resolution = $t->{done} ? '{"name":"Done"}' : 'null';
    return qq({"id":"$t->{id}","key":"OPS-$t->{id}","self":"http://receiver:$port/rest/api/3/issue/$t->{id}","fields":{"summary":"","labels":[$labels],"resolution":$resolution,"resolutiondate":null,"status":{"name":"$category","statusCategory":{"key":"$category"}}}});
}

sub answer {
    my ($method, $path, $body) = @_;
    return (200, 'text/plain', join('', @seen)) if $path eq '/';
    my $line = "$method $path\n" . ($body eq '' ? '' : text_of($body) . "\n") . "\n";
    print $line;
    push @seen, $line if $method ne 'GET' && $path !~ m{/search};
    return (200, 'text/plain', 'ok') if $path eq '/slack';
    if ($path =~ m{^/rest/api/[23]/search}) {
        my $query = $body . $path;
        $query =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ge;
        my @found = grep { my $t = $_; grep { $_ ne 'backup' && index($query, $_) >= 0 } @{ $t->{labels} } } @tickets;
        return (200, 'application/json', '{"isLast":true,"total":' . @found . ',"issues":[' . join(',', map { ticket($_) } @found) . ']}');
    }
    if ($method eq 'POST' && $path =~ m{^/rest/api/[23]/issue/?$}) {
        my ($labels) = $body =~ /"labels":\[([^\]]*)\]/;
        my $t = { id => @tickets + 1, labels => [ ($labels // '') =~ /"([^"]*)"/g ], done => 0, comments => 0 };
        push @tickets, $t;
        return (201, 'application/json', ticket($t));
    }
    if ($path =~ m{^/rest/api/[23]/issue/(?:OPS-)?(\d+)(/\w+)?}) {
        my ($t, $what) = ($tickets[ $1 - 1 ], $2 // '');
        return (404, 'application/json', '{"errorMessages":["Issue does not exist"]}') unless $t;
        if ($what eq '/comment') {
            return (200, 'application/json', '{"comments":[],"total":0,"startAt":0,"maxResults":50}') if $method eq 'GET';
            $t->{comments}++;
            return (201, 'application/json', qq({"id":"$t->{comments}"}));
        }
        if ($what eq '/transitions') {
            return (200, 'application/json', '{"transitions":[{"id":"1","name":"To Do","to":{"name":"To Do","statusCategory":{"key":"new"}}},{"id":"2","name":"Done","to":{"name":"Done","statusCategory":{"key":"done"}}}]}') if $method eq 'GET';
            $t->{done} = $body =~ /"id":"2"/ ? 1 : 0;
            return (204, 'application/json', '');
        }
        return (204, 'application/json', '') if $method eq 'PUT';
        return (200, 'application/json', ticket($t));
    }
    return (404, 'application/json', '{"errorMessages":["not here"]}');
}

print "receiver: listening on port $port\n";
while (1) {
    my $client = $server->accept or next;
    eval {
        local $SIG{ALRM} = sub { die "slow\n" };
        alarm 10;
        my $request = <$client> // die "empty\n";
        my ($method, $path) = $request =~ m{^(\w+) (\S+)} or die "no request\n";
        my ($length, $chunked) = (0, 0);
        while (defined(my $line = <$client>)) {
            last if $line =~ /^\r?\n$/;
            $length = $1 if $line =~ /^Content-Length:\s*(\d+)/i;
        }
        my $body = '';
        read($client, $body, $length) if $length > 0 && $length < 1_000_000;
        my ($status, $type, $text) = answer($method, $path, $body);
        my $bytes = length $text;
        print $client "HTTP/1.1 $status x\r\nContent-Type: $type\r\nContent-Length: $bytes\r\nConnection: close\r\n\r\n$text";
        alarm 0;
    };
    alarm 0;
    close $client;
}
