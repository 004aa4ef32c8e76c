//! Libraries: Python's poplib, Perl's Net::POP3 and Mail::POP3Client.

use super::case::{Case, SECRETS, Used};

/// Fetches everything, once for each way to open and log in. That way replaces `OPEN` in `script`.
fn fetches(case: &Case, program: &[&str], script: &str, rows: &[(String, Used)]) {
    for (open, used) in rows {
        let script = script.replace("OPEN", open);
        let arguments = [&program[1..], &[&script]].concat();
        let Some(heard) = case.runs(program[0], &arguments, open) else {
            return;
        };
        assert_eq!(heard, case.all(), "{open}");
        case.used(*used, open);
    }
}

const POPLIB: &str = "import poplib,ssl,sys
poplib._MAXLINE=1<<20
OPEN
n,size=m.stat()
assert n==len(m.list()[1])==len(set(m.uidl()[1]))
total=0
for i in range(1,n+1):
  lines,octets=m.retr(i)[1:]
  total+=sum(len(l)+2 for l in lines)
  sys.stdout.buffer.write(b'\\n'.join(lines)+b'\\n\\0')
assert total==size,(total,size)
m.quit()
";

#[test]
fn python_poplib_fetches_every_byte() {
    let case = Case::new();
    let (plain, tls) = (case.host.plain, case.host.tls);
    let context = format!("ssl.create_default_context(cafile='{}')", case.authority());
    let login = "m.user('alice');m.pass_('alice')";
    let rows = [
        (
            format!("m=poplib.POP3('127.0.0.1',{plain});{login}"),
            ("USER/PASS", false),
        ),
        (
            format!("m=poplib.POP3_SSL('localhost',{tls},context={context});{login}"),
            ("USER/PASS", true),
        ),
        (
            format!("m=poplib.POP3('localhost',{plain});m.stls({context});{login}"),
            ("USER/PASS", true),
        ),
    ];
    fetches(&case, &["python3", "-c"], POPLIB, &rows);
}

#[test]
fn python_poplib_logs_in_by_apop() {
    let case = Case::offering(SECRETS);
    let open = format!(
        "m=poplib.POP3('127.0.0.1',{});m.apop('alice','alice')",
        case.host.plain
    );
    fetches(
        &case,
        &["python3", "-c"],
        POPLIB,
        &[(open, ("APOP", false))],
    );
}

const NET_POP3: &str = "OPEN defined($n) or die; keys %{$p->uidl} == $n or die; \
    for $i (1..$n) { print join('',@{$p->get($i)}),\"\\0\" } $p->quit or die";

#[test]
fn perl_net_pop3_fetches_every_byte() {
    let case = Case::new();
    let (plain, tls) = (case.host.plain, case.host.tls);
    let believes = format!("SSL_ca_file=>'{}'", case.authority());
    let login = "or die $@; $n=$p->login('alice','alice');";
    let rows = [
        (
            format!("$p=Net::POP3->new('127.0.0.1',Port=>{plain}) {login}"),
            ("USER/PASS", false),
        ),
        (
            format!("$p=Net::POP3->new('localhost',Port=>{tls},SSL=>1,{believes}) {login}"),
            ("USER/PASS", true),
        ),
        (
            format!(
                "$p=Net::POP3->new('localhost',Port=>{plain}) or die; $p->starttls({believes}) {login}"
            ),
            ("USER/PASS", true),
        ),
    ];
    fetches(&case, &["perl", "-MNet::POP3", "-e"], NET_POP3, &rows);
}

#[test]
fn perl_net_pop3_logs_in_by_apop() {
    let case = Case::offering(SECRETS);
    let open = format!(
        "$p=Net::POP3->new('127.0.0.1',Port=>{}) or die; $n=$p->apop('alice','alice');",
        case.host.plain
    );
    fetches(
        &case,
        &["perl", "-MNet::POP3", "-e"],
        NET_POP3,
        &[(open, ("APOP", false))],
    );
}

#[test]
fn perl_mail_pop3client_fetches_every_byte() {
    let case = Case::new();
    if case.client("perl").is_some_and(|mut perl| {
        let known = perl
            .args(["-MMail::POP3Client", "-e", "1"])
            .output()
            .unwrap();
        !known.status.success()
    }) {
        super::host::skipped("Mail::POP3Client is not installed");
        return;
    }
    let open = format!(
        "$p=Mail::POP3Client->new(USER=>'alice',PASSWORD=>'alice',HOST=>'127.0.0.1',PORT=>{},AUTH_MODE=>'PASS');",
        case.host.plain
    );
    let script = "OPEN $n=$p->Count; for $i (1..$n) { $p->RetrieveToFile(\\*STDOUT,$i); print \"\\0\" } $p->Close";
    fetches(
        &case,
        &["perl", "-MMail::POP3Client", "-e"],
        script,
        &[(open, ("USER/PASS", false))],
    );
}
