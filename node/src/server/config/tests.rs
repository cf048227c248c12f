use super::*;

const WHOLE: &str = r#"
cluster = "team"
node = 2
data = "state"

[nodes]
1 = "127.0.0.1:7411"
2 = "127.0.0.2:7411"
3 = "127.0.0.3:7411"

[http]
listen = "127.0.0.1:7402"
"#;

fn parse(text: &str) -> Result<ServerConfig, String> {
    ServerConfig::parse(text, Path::new("/etc/precentor/n2.toml"))
        .map_err(|error| error.to_string())
}

#[test]
fn a_whole_file_says_who_where_and_with_whom() {
    let config = parse(WHOLE).unwrap();
    assert_eq!(config.node, NodeId(2));
    assert_eq!(config.addresses.len(), 3);
    assert_eq!(config.listen, "127.0.0.2:7411".parse().unwrap());
    assert_eq!(config.http, "127.0.0.1:7402".parse().unwrap());
    assert_eq!(config.data, Path::new("/etc/precentor/state"));
    assert_eq!(config.addresses[&NodeId(3)], "127.0.0.3:7411");
}

#[test]
fn what_cannot_be_is_refused_and_says_what_would_be_right() {
    for (from, to, says) in [
        ("node = 2", "node = 4", "node is 4, which is not in [nodes]"),
        ("3 =", "0 =", "a node's name is a number from 1"),
        ("3 =", "n3 =", "a node's name is a number from 1"),
        ("\"team\"", "\"\"", "cluster is 0 bytes long"),
        ("127.0.0.2:7411", "127.0.0.2", "write HOST:PORT"),
        ("127.0.0.2:7411", "0.0.0.0:7411", "which others can reach"),
        ("127.0.0.1:7402", "192.0.2.1:7402", "which others can reach"),
        ("127.0.0.3:7411", "192.0.2.1:7411", "[nodes] 3 is"),
        ("cluster = ", "clutser = ", "unknown field `clutser`"),
        ("data = \"state\"", "", "missing field `data`"),
        ("[nodes]", "[nodes", "TOML parse error at line 6"),
    ] {
        let error = parse(&WHOLE.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(says), "{error}");
        assert!(error.starts_with("/etc/precentor/n2.toml: "), "{error}");
    }
}

#[test]
fn with_certificates_a_cluster_leaves_the_machine() {
    let far = WHOLE
        .replace("127.0.0.1:7411", "n1.nowhere.invalid:7411")
        .replace("127.0.0.2:7411", "n2.nowhere.invalid:7411")
        .replace("node = 2", "node = 2\nlisten = \"0.0.0.0:7411\"")
        .replace("127.0.0.1:7402", "0.0.0.0:7402");
    assert!(
        parse(&far)
            .unwrap_err()
            .contains("listen is \"0.0.0.0:7411\", which others can reach")
    );
    let with = |tls: &str| parse(&format!("{far}[tls]\n{tls}"));
    let config = with("ca = \"ca.pem\"\ncertificate = \"n2.pem\"").unwrap();
    assert_eq!(config.listen, "0.0.0.0:7411".parse().unwrap());
    assert_eq!(config.addresses[&NodeId(1)], "n1.nowhere.invalid:7411");
    let files = config.tls.unwrap();
    assert_eq!(files.ca, Path::new("/etc/precentor/ca.pem"));
    assert_eq!(files.certificate, Path::new("/etc/precentor/n2.pem"));
    assert_eq!(files.key, files.certificate, "both in one file");
    // Nobody is believed to be anybody without saying so.
    assert_eq!(config.callers.principal(None), None);
    let apart = with("ca = \"/ca.pem\"\ncertificate = \"n2.pem\"\nkey = \"n2.key\"");
    let files = apart.unwrap().tls.unwrap();
    assert_eq!(files.ca, Path::new("/ca.pem"));
    assert_eq!(files.key, Path::new("/etc/precentor/n2.key"));
    let error = with("ca = \"ca.pem\"").unwrap_err();
    assert!(error.contains("missing field `certificate`"), "{error}");
    let tls = "[tls]\nca = \"ca.pem\"\ncertificate = \"n2.pem\"";
    for address in ["n3", "n3:", ":7411", "n3:port"] {
        let text = format!("{}{tls}", far.replace("127.0.0.3:7411", address));
        let error = parse(&text).unwrap_err();
        assert!(error.contains("write HOST:PORT"), "{error}");
    }
}

#[test]
fn whose_token_it_is_follows_from_its_digest_alone() {
    let line = |principal: &str, token: &str| {
        let digest = Digest::of(token.as_bytes());
        format!("[[http.tokens]]\nprincipal = {principal:?}\nblake3 = \"{digest}\"\n")
    };
    let with = |lines: &[String]| parse(&format!("{WHOLE}{}", lines.concat()));
    let config = with(&[line("ada", "one"), line("ada", "two"), line("bob", "three")]).unwrap();
    let whose = |token: Option<&str>| config.callers.principal(token).map(|name| name.0);
    assert_eq!(whose(Some("two")).as_deref(), Some("ada"));
    assert_eq!(whose(Some("three")).as_deref(), Some("bob"));
    for nobody in [None, Some(""), Some("four"), Some("ada")] {
        assert_eq!(whose(nobody), None, "{nobody:?}");
    }
    let open = parse(WHOLE).unwrap().callers;
    assert_eq!(
        open.principal(None).map(|name| name.0).as_deref(),
        Some("local")
    );
    for (lines, says) in [
        (
            vec![line("ada", "one"), line("bob", "one")],
            "ada and bob have one token",
        ),
        (vec![line("cluster", "one")], "not the cluster's own"),
        (vec![line("cluster: me", "one")], "not the cluster's own"),
        (vec![line("", "one")], "write a name of 1 to 128 bytes"),
        (
            vec![line("ada", "one").replace("blake3 = \"", "blake3 = \"x")],
            "64 hexadecimal digits",
        ),
    ] {
        let error = with(&lines).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}
