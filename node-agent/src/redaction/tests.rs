use proptest::prelude::*;

use super::*;

fn is(text: &str, redacted: &str) {
    assert_eq!(redact(text), redacted, "of {text}");
}

#[test]
fn values_of_secret_names_are_taken_out() {
    is("password=hunter2 user=bob", "password=[redacted] user=bob");
    is("DB_PASSWORD: hunter2", "DB_PASSWORD: [redacted]");
    is(r#"{"api_key": "a b\"c", "n": 1}"#, r#"{"api_key": "[redacted]", "n": 1}"#);
    is(r#"say "{\"token\":\"abc def\",\"n\":1}""#, r#"say "{\"token\":\"[redacted]\",\"n\":1}""#);
    is("export AWS_SECRET_ACCESS_KEY='x y' B=2", "export AWS_SECRET_ACCESS_KEY='[redacted]' B=2");
    is("tool --db-password hunter2 --fast", "tool --db-password [redacted] --fast");
    is("CREATE USER u IDENTIFIED BY 'x';", "CREATE USER u IDENTIFIED BY '[redacted]';");
    is("GET /f?sig=abc%2F&n=1", "GET /f?sig=[redacted]&n=1");
    is("curl -u bob:hunter2 https://h/", "curl -u bob:[redacted] https://h/");
}

#[test]
fn short_names_of_secrets_are_known_but_not_within_words() {
    for name in
        ["MYSQL_PWD=", "DB_PASS=", "smtp_pass: ", "pass=", "psk=", "PresharedKey = ", "pass_1=", "storepass="]
    {
        is(&format!("{name}x y"), &format!("{name}[redacted] y"));
    }
    is("JSESSIONID=0A1B; Path=/", "JSESSIONID=[redacted] Path=/");
    is("keytool -storepass x -v", "keytool -storepass [redacted] -v");
    is("//registry/:_auth=eDp5", "//registry/:_auth=[redacted]");
    is(r#"{"auth": "dXNlcjpwYXNz", "n": 1}"#, r#"{"auth": "[redacted]", "n": 1}"#);
    for text in [
        "passed=3 bypass=1 bypass: on compass: north trespass=no",
        "authority: a.example \"authority\": \"a\" author=bob auth: ok",
        "upskill=1 pawn=2 monkey: 3",
        "mysql -P 3306 -u app --protocol=tcp",
    ] {
        is(text, text);
    }
}

#[test]
fn a_value_goes_as_far_as_it_may() {
    is("password=ab,cdef n=1", "password=[redacted] n=1");
    for value in
        ["ab;cd", "ab&cd", "a<b>c", "a)b]c}d", ",;x", r"a\b", r"\x", "ab\"cd", "ab'cd", "$'x'", "$'x y'"]
    {
        is(&format!("PASSWORD={value} n=1\n"), "PASSWORD=[redacted] n=1\n");
    }
    is(r"password='it'\''s it' n", "password='[redacted]' n");
    is("password='a''b c' n", "password='[redacted]' n");
    is("password=\"never closed\nn", "password=\"[redacted]\"\nn");
    is("passphrase: correct horse battery\nn", "passphrase: [redacted]\nn");
    is(r#"{"passphrase":"a b","n":1}"#, r#"{"passphrase":"[redacted]","n":1}"#);
    is(r#"{\"token\":\"a\\nb\\\"c\",\"n\":1}"#, r#"{\"token\":\"[redacted]\",\"n\":1}"#);
}

#[test]
fn a_value_goes_no_further_than_what_it_stands_in() {
    is(r#"{"token":12,"n":1}"#, r#"{"token":[redacted],"n":1}"#);
    is(r#"{"tokens":["a","b"],"n":1}"#, r#"{"tokens":[redacted],"n":1}"#);
    is(r#"{"say":"token=abc","n":1}"#, r#"{"say":"token=[redacted]","n":1}"#);
    is(r#"{\"say\":\"token=abc\",\"n\":1}"#, r#"{\"say\":\"token=[redacted]\",\"n\":1}"#);
    is("GET /f?a=1&token=x,y&n=1 HTTP", "GET /f?a=1&token=[redacted]&n=1 HTTP");
    is("a=1&password=x&n=1", "a=1&password=[redacted]&n=1");
    is("?to=%2F%3Faccess_token%3Dx&n=1", "?to=%2F%3Faccess_token%3D[redacted]&n=1");
    is("access_token%3Dx n=1", "access_token%3D[redacted] n=1");
    is("<password>x y</password><n>1</n>", "<password>[redacted]</password><n>1</n>");
    is("<a:Secret id=\"1\"><![CDATA[x]]></a:Secret>", "<a:Secret id=\"1\">[redacted]</a:Secret>");
}

#[test]
fn options_of_known_tools_are_taken_out() {
    is("mysql -px db", "mysql -p[redacted] db");
    is("/usr/bin/mysqldump -u app -p'x y' db", "/usr/bin/mysqldump -u app -p'[redacted]' db");
    is("sshpass -p x ssh h", "sshpass -p [redacted] ssh h");
    is("docker login -u app -p x h", "docker login -u app -p [redacted] h");
    is("redis-cli -h h -a x PING", "redis-cli -h h -a [redacted] PING");
    is("requirepass x", "requirepass [redacted]");
    is(r#"["tool", "--password", "x y", "-v"]"#, r#"["tool", "--password", "[redacted]", "-v"]"#);
}

#[test]
fn headers_are_taken_out_whole() {
    is("Authorization: Basic dXNlcjpwYXNz", "Authorization: [redacted]");
    is("authorization: Digest username=\"a\", response=\"b\"", "authorization: [redacted]");
    is("curl -H 'X-Api-Key: a b' h", "curl -H 'X-Api-Key: [redacted]' h");
    is(r#"{"Cookie":"a=b; c=d","n":1}"#, r#"{"Cookie":"[redacted]","n":1}"#);
    is("sent bearer abcdefgh12345", "sent bearer [redacted]");
}

#[test]
fn addresses_lose_who_and_keep_where() {
    is("postgres://bob:hun/ter@2@db:5432/x", "postgres://[redacted]@db:5432/x");
    is("https://ghp_token@github.com/a", "https://[redacted]@github.com/a");
    let hook = "https://hooks.slack.com/services/";
    is(&format!("{hook}T0/B0/abc, n"), &format!("{hook}[redacted] n"));
    is("https://example.com/a?b=c:d", "https://example.com/a?b=c:d");
}

#[test]
fn tokens_that_say_what_they_are_are_taken_out() {
    for secret in [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "glpat-0123456789abcdefghij",
        "xoxb-0123456789-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "muster1.eyJhIjpbImguODQ0NCJdLCJwIjoi",
        "$6$saltsalt$0123456789abcdefghijklmnop",
        "hvs.CAESIJ0123456789abcdefghij",
        "SG.0123456789abcdefghijkl.0123456789abcdefghij",
    ] {
        is(&format!("got {secret} here"), "got [redacted] here");
    }
}

#[test]
fn private_keys_are_taken_out_whole() {
    let key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\nAwEHoU\n-----END EC PRIVATE KEY-----\nafter\n";
    is(&format!("before\n{key}"), "before\n-----BEGIN EC PRIVATE KEY-----[redacted]\n\nafter\n");
    let line = "k=\"-----BEGIN PRIVATE KEY-----\\nMHcCAQ\\n-----END PRIVATE KEY-----\" n=1";
    is(line, "k=\"-----BEGIN PRIVATE KEY-----[redacted]\" n=1");
    is("-----BEGIN CERTIFICATE-----\nMIIB\n", "-----BEGIN CERTIFICATE-----\nMIIB\n");
}

#[test]
fn a_key_that_does_not_end_does_not_take_everything() {
    let text = format!("-----BEGIN PRIVATE KEY-----\n{}last words\n", "base64\n".repeat(KEY / 7));
    let out = redact(&format!("{text}after\n{text}"));
    assert!(!out.contains("base64") && out.contains("last words"), "{out}");
}

#[test]
fn what_is_no_credential_stays() {
    for text in [
        "the password was wrong",
        "unit nginx.service: active (running) since 12:00:01",
        "basic usage: see the manual; key value store",
        "sha256:9807af0e638c12e753aa1b4e601791bf2a8f71274023c8bbeec12fc149950857",
        "a\u{0}b\u{7f}ü€\r\n\n\tc",
    ] {
        is(text, text);
    }
}

#[test]
fn a_line_is_given_when_it_is_over_or_asked_for() {
    let mut redactor = Redactor::default();
    assert_eq!(redactor.push(b"one\ntoken=ab"), b"one\n");
    assert_eq!(redactor.flush(), b"token=[redacted]");
    assert_eq!(redactor.flush(), b"");
    assert_eq!(redactor.push(b"cd more\nnext"), b" more\n");
    assert_eq!(redactor.flush(), b"next");
}

#[test]
fn a_credential_is_seen_wherever_a_long_line_is_divided() {
    for before in [LINE - 30, LINE - 12, LINE - 1, LINE] {
        let text = format!("{} password=hunter2hunter2 end\n", "x".repeat(before));
        let out = redact(&text);
        assert!(!out.contains("hunter2"), "after {before}");
        assert!(out.ends_with("end\n"));
        assert_eq!(out.len(), text.len() - "hunter2hunter2".len() + MARK.len(), "after {before}");
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        text in prop::collection::vec(prop_oneof![
            Just(b"password=hunter2 ".to_vec()), Just(b"\n".to_vec()),
            Just(b"-----BEGIN PRIVATE KEY-----".to_vec()), Just(b"-----END PRIVATE KEY-----".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ], 0..40),
        size in 1_usize..50,
    ) {
        let text = text.concat();
        let mut whole = Redactor::default();
        let mut expected = whole.push(&text);
        expected.extend(whole.flush());
        let mut pieces = Redactor::default();
        let mut got: Vec<u8> = text.chunks(size).flat_map(|piece| pieces.push(piece)).collect();
        got.extend(pieces.flush());
        prop_assert_eq!(got, expected);
    }
}
