//! Which texts are masked as secrets, and which are not.

use alloclog::tables::mask;
use proptest::prelude::*;

/// Texts with a secret, and their masked form.
const SECRETS: &[(&str, &str)] = &[
    // URLs, in every spelling.
    ("GET https://u:p@h/x failed", "GET https://***@h/x failed"),
    (r"GET https:\/\/u:p@h\/x failed", r"GET https:\/\/***@h\/x failed"),
    (r#"{\"url\":\"https:\/\/u:p@h\/x\"}"#, r#"{\"url\":\"https:\/\/***@h\/x\"}"#),
    (r#"{"url":"https:\\/\\/u:p@h"}"#, r#"{"url":"https:\\/\\/***@h"}"#),
    (r"https:\u002f\u002fu:p@h", r"https:\u002f\u002f***@h"),
    (r"https:\/\/u:p/q@h\/x", r"https:\/\/***@h\/x"),
    ("https://u:p%40h/x", "https://***%40h/x"),
    ("https://token%40h/x", "https://***%40h/x"),
    ("http://h/?next=https%3A%2F%2Fu%3Ap%40g%2Fx", "http://h/?next=https%3A%2F%2F***%40g%2Fx"),
    ("redirect https%3A%2F%2Fu%3Ap@g%2Fx", "redirect https%3A%2F%2F***@g%2Fx"),
    ("https%253A%252F%252Fu%253Ap%40g", "https%253A%252F%252F***%40g"),
    ("https%253A%252F%252Fu%253Ap%2540g%252Fx", "https%253A%252F%252F***%2540g%252Fx"),
    ("http://h/x;token=abc/y", "http://h/x;token=***"),
    ("http://h/x;a=1;token=abc;b=2", "http://h/x;a=1;token=***;b=2"),
    ("http://h/x#access_token=abc&b=2", "http://h/x#access_token=***&b=2"),
    (r"http:\/\/h\/?a=1&X-Amz-Signature=abc&b=2", r"http:\/\/h\/?a=1&X-Amz-Signature=***&b=2"),
    (r"http://h/?a=1\u0026sig=abc", r"http://h/?a=1\u0026sig=***"),
    ("see https%3A%2F%2Fh%2F%3Ftoken%3Dabc%26b%3D2", "see https%3A%2F%2Fh%2F%3Ftoken%3D***%26b%3D2"),
    ("POST https://hooks.slack.com/services/T00/B00/XXXX: 404", "POST https://hooks.slack.com/services/***: 404"),
    (r"https:\/\/hooks.slack.com\/services\/T00\/B00\/XXXX", r"https:\/\/hooks.slack.com\/services\/***"),
    ("https://discord.com/api/webhooks/123/ab-c_d", "https://discord.com/api/webhooks/***"),
    ("dial app:hunter2@tcp(db:3306)/x", "dial app:***@tcp(db:3306)/x"),
    // Well-known forms.
    ("key AKIAIOSFODNN7EXAMPLE denied", "key *** denied"),
    ("ASIAIOSFODNN7EXAMPLE", "***"),
    ("secret wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY is wrong", "secret *** is wrong"),
    ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=***"),
    ("aws_secret_access_key = abc", "aws_secret_access_key = ***"),
    (r#"{"SecretAccessKey":"a/b+c"}"#, r#"{"SecretAccessKey":"***"}"#),
    ("eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "***"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_d expired", "token *** expired"),
    ("Authorization: Bearer abcdefgh", "Authorization: Bearer ***"),
    ("authorization=Basic dXNlcjpwYXNz", "authorization=Basic ***"),
    (r#""Authorization": "Bearer abc def""#, r#""Authorization": "Bearer ***""#),
    (r#"{\"Authorization\":\"Basic dXNlcjpwYXNz\"}"#, r#"{\"Authorization\":\"Basic ***\"}"#),
    ("map[Authorization:[Bearer abc123]]", "map[Authorization:[Bearer ***]]"),
    ("Authorization: AWS4-HMAC-SHA256 Credential=a/b, Signature=c", "Authorization: AWS4-HMAC-SHA256 ***"),
    ("curl -H 'Authorization: token abc' x", "curl -H 'Authorization: token ***' x"),
    ("sent bearer 3f2a9c01-aa", "sent bearer ***"),
    ("sent Basic dXNlcjpwYXNz", "sent Basic ***"),
    ("no permission for hvs.CAESIJ1234567890abcdef", "no permission for ***"),
    ("old s.aBcDeFgHiJkLmNoPqRsTuVwX token", "old *** token"),
    ("xoxb-1234567890-abc", "***"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "***"),
    ("glpat-abcdefghijklmnopqrst", "***"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----",
    ),
    ("-----BEGIN PRIVATE KEY-----\nabc", "-----BEGIN PRIVATE KEY-----***"),
    // Names and values.
    ("password=hunter2", "password=***"),
    ("exec: DB_PASSWORD=hunter2 ./run", "exec: DB_PASSWORD=*** ./run"),
    ("PGPASSWORD='a b' psql", "PGPASSWORD='***' psql"),
    ("Server=h;Uid=u;Pwd=p;Port=1", "Server=h;Uid=u;Pwd=***;Port=1"),
    ("user=u password=p sslmode=off", "user=u password=*** sslmode=off"),
    (r#"{"user":"u","password":"a\"b","n":1}"#, r#"{"user":"u","password":"***","n":1}"#),
    (r#"{"token":"abc"}"#, r#"{"token":"***"}"#),
    (r#"{ "token" : "abc" }"#, r#"{ "token" : "***" }"#),
    (r#"{\"token\":\"a b\"}"#, r#"{\"token\":\"***\"}"#),
    (r#"{\\\"token\\\":\\\"abc\\\"}"#, r#"{\\\"token\\\":\\\"***\\\"}"#),
    ("{'api_key': 'abc'}", "{'api_key': '***'}"),
    ("password: \"correct horse\"", "password: \"***\""),
    ("password: hunter2", "password: ***"),
    ("X-Vault-Token: 8a6d1e2c-0000-1111-2222-333344445555", "X-Vault-Token: ***"),
    ("map[X-Nomad-Token:[8a6d1e2c-0000-1111-2222-333344445555]]", "map[X-Nomad-Token:[***]]"),
    ("CONSUL_HTTP_TOKEN=8a6d1e2c", "CONSUL_HTTP_TOKEN=***"),
    ("client_secret: q1w2e3", "client_secret: ***"),
    ("AccountKey=abc/def==;EndpointSuffix=x", "AccountKey=***;EndpointSuffix=x"),
    ("secret_id=abc", "secret_id=***"),
    ("(password=abc)", "(password=***)"),
    ("failed: invalid token=abc123", "failed: invalid token=***"),
    ("sig=abc%2F", "sig=***"),
    // Commands.
    ("run --password x", "run --password ***"),
    ("run --password=x y", "run --password=*** y"),
    ("run -token abc", "run -token ***"),
    ("run --registry-password 'a b' --x", "run --registry-password '***' --x"),
    (r#"["run","--password","a b"]"#, r#"["run","--password","***"]"#),
    (r#"[\"--token\", \"abc\"]"#, r#"[\"--token\", \"***\"]"#),
    ("[--api-key abc]", "[--api-key ***]"),
    ("--token abc --password def", "--token *** --password ***"),
    ("sh -c \"curl -u user:pw https://h\"", "sh -c \"curl -u user:*** https://h\""),
    ("é password=ü ö", "é password=*** ö"),
    // Spaces other than ASCII.
    ("sent Bearer\u{a0}3f2a9c01-aa", "sent Bearer\u{a0}***"),
    ("Authorization:\u{a0}Basic\u{2003}dXNlcjpwYXNz", "Authorization:\u{a0}Basic\u{2003}***"),
    ("password:\u{202f}hunter2", "password:\u{202f}***"),
    ("password\u{3000}=\u{a0}hunter2", "password\u{3000}=\u{a0}***"),
    ("run\u{a0}--token\u{a0}--password\u{a0}hunter2", "run\u{a0}--token\u{a0}--password\u{a0}***"),
    ("curl\u{a0}-u\u{a0}user:pw https://h", "curl\u{a0}-u\u{a0}user:*** https://h"),
    // After `unexpected`, a token is normally kept. Here the word belongs to the password, so the token is masked.
    ("password=hunter2unexpected token: \"}\"", "password=*** token: \"***\""),
];

/// Texts that only look like secrets.
const HARMLESS: &[&str] = &[
    "Task started by client",
    "Exit Code: 1, Exit Message: \"Docker container exited with non-zero exit code: 1\"",
    "Vault: failed to derive vault token: Can not derive token for an empty policy",
    "failed to derive token: permission denied",
    "template: vault.read(secret/data/app1): vault.read(secret/data/app1): Error making API request",
    "Missing: vault.read(secret/data/app), kv.block(config/key/v1)",
    "invalid secret: not found",
    "unexpected token: \"}\"",
    "the token is expired",
    "--token is required",
    "one of --password or --token-file must be given",
    "run --token-file /secrets/token --password-stdin",
    "run --password --user x",
    "flag needs an argument: --token",
    "Access denied for user 'u'@'h' (using password: YES)",
    "password=",
    "password=***",
    "password=${DB_PASSWORD}",
    "token: null, password: none",
    "tokens=12 max_tokens: 512 token_ttl=3600 token_type=service",
    "PWD=/alloc/task OLDPWD=/ pwd=/x",
    "Failed to pull `registry/app-secret:v1.2.3`",
    "Failed to pull auth-token:1.2.3-rc1: not found",
    "image sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
    "alloc 5a1f0e9c-2b1d-4b0a-8a3e-0f9d8c7b6a55 node 1b2c3d4e",
    "/opt/nomad/data/alloc/5a1f0e9c-2b1d/web/secrets/token: no such file or directory",
    "com/example/FooBarBazQuxHandlerFactory12x",
    "Basic authentication failed",
    "bearer authentication required",
    "bearer\u{a0}authentication required",
    "--token\u{a0}is required",
    "Authorization: denied",
    "design=new, signed=yes, config=a",
    "http://h/%40scope/package",
    "http://host:80/a%40b",
    r"http:\/\/host:80\/a@b",
    "https://h/p;v=1?a=b#top",
    "docker run -u 1000:1000 image",
    "hvs.short s.short eyJ.x",
    "User u:p",
    "if token == x",
    "C:\\keys\\a",
];

#[test]
fn secrets_are_masked() {
    let wrong = SECRETS.iter().filter(|(text, expected)| mask::text(text) != *expected);
    let wrong: Vec<_> = wrong.map(|(text, expected)| (text, mask::text(text), expected)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn texts_that_only_look_like_secrets_are_kept() {
    let wrong: Vec<_> = HARMLESS.iter().map(|text| (text, mask::text(text))).filter(|(a, b)| *a != b).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn details_are_masked_by_name_and_by_value() {
    for (json, expected) in [
        (r#"{"password":"x y","a":"b"}"#, r#"{"password":"***","a":"b"}"#),
        (r#"{"args":"[\"--token\",\"x\"]"}"#, r#"{"args":"[\"--token\",\"***\"]"}"#),
        (r#"{"driver_error":"password=x, \"é\""}"#, r#"{"driver_error":"password=***, \"é\""}"#),
        (r#"{"token=abc":"1","token=abd":"2"}"#, r#"{"token=***":"1","token=***":"2"}"#),
        (
            r#"{"exit_code":"1","oom_killed":"false","signal":"0"}"#,
            r#"{"exit_code":"1","oom_killed":"false","signal":"0"}"#,
        ),
        ("{}", "{}"),
        (r#"{"vault_token":"","token":"true"}"#, r#"{"vault_token":"","token":"true"}"#),
    ] {
        assert_eq!(mask::details(json), expected, "{json}");
    }
}

/// Masking a long text takes time linear in its length, whatever the text contains.
#[test]
fn masking_time_is_linear() {
    let pieces = [
        "token:",
        "token: ",
        "password=\"",
        "--token ",
        "\\\\",
        "https:\\/\\/",
        "%40",
        "Bearer ",
        "eyJ",
        "hvs.",
        "https%3A%2F%2Fa:b",
        "a:",
        "authorization:",
        "authorization: digest ",
        "-----BEGIN PRIVATE KEY-----",
        "curl -u ",
        "?token=",
        ";key",
        "aB1/",
        "key",
        "://a;",
        "xoxb-",
        "sig=",
        "\"password\":\"\\",
    ];
    for piece in pieces {
        let text = piece.repeat(2_000_000 / piece.len());
        let begun = std::time::Instant::now();
        let masked = mask::text(&text);
        assert!(!masked.is_empty() && begun.elapsed().as_secs() < 20, "{piece} took {:?}", begun.elapsed());
    }
}

proptest! {
    /// Masking is idempotent, so that stored texts can be masked again.
    #[test]
    fn masking_twice_is_masking_once(picked in prop::collection::vec(0..SECRETS.len() + HARMLESS.len(), 1..4), joint in "[ ,\"'\\\\&;/]{0,3}") {
        let text = |n: usize| SECRETS.get(n).map_or_else(|| HARMLESS[n - SECRETS.len()], |(text, _)| *text);
        let joined = picked.into_iter().map(text).collect::<Vec<_>>().join(&joint);
        let once = mask::text(&joined).into_owned();
        prop_assert_eq!(mask::text(&once), once.as_str());
    }

    /// A secret is masked whatever text surrounds it.
    #[test]
    fn a_password_is_masked_in_any_surrounding_text(before in "[ -~é]{0,12}", after in "[ -~é]{0,12}") {
        let masked = mask::text(&format!("{before} --password hunter2x {after}")).into_owned();
        prop_assert!(!masked.contains("hunter2x"), "{}", masked);
    }
}
