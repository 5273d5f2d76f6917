//! Profiles: where each setting comes from, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use coffer_client::profile::{Credentials, Http3, Profile, ProfileError, ProfileOptions};
use std::collections::HashMap;
use std::path::Path;

const FILE: &str = r#"
[profile.default]
endpoint = "https://127.0.0.1:9000"
access_key = "AKDEFAULT"
secret_key = "s3cr3t-default"
ca_file = "ca.pem"
region = "eu-north-1"

[profile.job]
endpoint = "https://store.example"
token_file = "job.token"
http3 = "never"
"#;

struct Place {
    folder: tempfile::TempDir,
    env: HashMap<String, String>,
}

impl Place {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), config).unwrap();
        std::fs::write(folder.path().join("job.token"), "tok-123\n").unwrap();
        Self { folder, env: HashMap::new() }
    }

    /// Points `COFFER_CONFIG` at the file and sets further variables.
    fn env(mut self, variables: &[(&str, &str)]) -> Self {
        let config = self.folder.path().join("config.toml").display().to_string();
        self.env.insert("COFFER_CONFIG".to_owned(), config);
        self.env.extend(variables.iter().map(|(k, v)| (k.to_string(), v.to_string())));
        self
    }

    fn load(&self, options: &ProfileOptions) -> Result<Profile, ProfileError> {
        Profile::load_with(options, &|name| self.env.get(name).cloned())
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn named(profile: &str) -> ProfileOptions {
    ProfileOptions { profile: Some(profile.to_owned()), ..ProfileOptions::default() }
}

#[test]
fn reads_the_default_profile_with_paths_beside_the_file() {
    let place = Place::new(FILE).env(&[]);
    let profile = place.load(&ProfileOptions::default()).unwrap();
    assert_eq!(profile.endpoint.to_string(), "https://127.0.0.1:9000");
    assert_eq!(profile.region, "eu-north-1");
    assert_eq!(profile.ca_file, Some(place.path().join("ca.pem")));
    assert_eq!(profile.http3, Http3::Auto);
    assert!(
        matches!(profile.credentials, Credentials::AccessKey { ref id, .. } if id == "AKDEFAULT")
    );
}

#[test]
fn reads_a_token_from_its_file() {
    let place = Place::new(FILE).env(&[]);
    let profile = place.load(&named("job")).unwrap();
    let Credentials::Token(token) = &profile.credentials else { panic!("not a token") };
    assert_eq!(token.expose(), "tok-123", "the line's end is no part of it");
    assert_eq!(profile.region, "us-east-1");
    assert_eq!(profile.http3, Http3::Never);
}

#[test]
fn environment_overrides_the_file_and_takes_credentials_as_a_whole() {
    let place = Place::new(FILE).env(&[
        ("COFFER_ENDPOINT", "https://other.example:1"),
        ("COFFER_TOKEN", "tok-env"),
        ("COFFER_CA_FILE", "/etc/ca.pem"),
        ("COFFER_HTTP3", "always"),
    ]);
    let profile = place.load(&ProfileOptions::default()).unwrap();
    assert_eq!(profile.endpoint.to_string(), "https://other.example:1");
    assert!(matches!(profile.credentials, Credentials::Token(_)));
    assert_eq!(profile.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert_eq!(profile.http3, Http3::Always);
}

#[test]
fn aws_variables_count_only_where_no_profile_is_named() {
    let aws = [("AWS_ACCESS_KEY_ID", "AKAWS"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "r")];
    let place = Place::new(FILE).env(&aws);
    let id = |profile: &Profile| match &profile.credentials {
        Credentials::AccessKey { id, .. } => id.clone(),
        other => panic!("{other:?}"),
    };
    let unnamed = place.load(&ProfileOptions::default()).unwrap();
    assert_eq!((id(&unnamed).as_str(), unnamed.region.as_str()), ("AKAWS", "r"));
    let named = place.load(&named("default")).unwrap();
    assert_eq!((id(&named).as_str(), named.region.as_str()), ("AKDEFAULT", "eu-north-1"));
}

#[test]
fn an_option_beats_the_environment() {
    let place = Place::new(FILE).env(&[("COFFER_ENDPOINT", "https://env.example")]);
    let options = ProfileOptions {
        endpoint: Some("https://option.example".to_owned()),
        ..ProfileOptions::default()
    };
    assert_eq!(place.load(&options).unwrap().endpoint.to_string(), "https://option.example");
}

#[test]
fn several_gateways_are_listed_or_told_with_commas() {
    let listed = "[profile.default]\nendpoints = [\"https://a.example\", \"https://b.example:1\"]";
    let all = |profile: &Profile| {
        let others = profile.others.iter().map(ToString::to_string);
        std::iter::once(profile.endpoint.to_string()).chain(others).collect::<Vec<_>>().join(" ")
    };
    let place = Place::new(listed).env(&[]);
    let profile = place.load(&ProfileOptions::default()).unwrap();
    assert_eq!(all(&profile), "https://a.example https://b.example:1");
    let place = place.env(&[("COFFER_ENDPOINT", "https://c.example, https://d.example")]);
    let profile = place.load(&ProfileOptions::default()).unwrap();
    assert_eq!(all(&profile), "https://c.example https://d.example");
}

#[test]
fn works_without_any_file() {
    let home = tempfile::tempdir().unwrap();
    let home_text = home.path().display().to_string();
    let env =
        HashMap::from([("HOME", home_text.as_str()), ("COFFER_ENDPOINT", "https://a.example")]);
    let get = |name: &str| env.get(name).map(|value| (*value).to_owned());
    let profile = Profile::load_with(&ProfileOptions::default(), &get).unwrap();
    assert_eq!(profile.credentials, Credentials::Anonymous);

    let nothing = |name: &str| (name == "HOME").then(|| home_text.clone());
    let error = Profile::load_with(&ProfileOptions::default(), &nothing).unwrap_err();
    assert!(matches!(error, ProfileError::NoEndpoint { .. }));
    assert!(error.to_string().contains(".config/coffer/config.toml"), "{error}");
}

#[test]
fn refuses_with_the_reason() {
    let unknown = Place::new(FILE).env(&[]).load(&named("nope")).unwrap_err();
    assert!(unknown.to_string().contains("default, job"), "{unknown}");

    let table =
        |lines: &str| format!("[profile.default]\nendpoint = \"https://a.example\"\n{lines}");
    for (lines, word) in [
        ("access_key = \"a\"", "no secret key"),
        ("secret_key = \"a\"", "no access key id"),
        ("token = \"a\"\ntoken_file = \"b\"", "only one"),
        ("token = \"two words\"", "printable ASCII"),
        ("token_file = \"absent\"", "absent"),
        ("http3 = \"maybe\"", "maybe"),
        ("endpont = \"x\"", "line 3"),
        ("endpoints = [\"https://b.example\"]", "only one of them"),
    ] {
        let place = Place::new(&table(lines)).env(&[]);
        let error = place.load(&ProfileOptions::default()).unwrap_err().to_string();
        assert!(error.contains(word), "{lines:?} gave: {error}");
    }
    for (endpoints, word) in [
        ("https://a.example,http://localhost:1", "differ in scheme"),
        ("https://a.example,", "not an endpoint"),
        ("https://a.example;https://b.example", "not an endpoint"),
    ] {
        let place = Place::new(FILE).env(&[("COFFER_ENDPOINT", endpoints)]);
        let error = place.load(&ProfileOptions::default()).unwrap_err().to_string();
        assert!(error.contains(word), "{endpoints:?} gave: {error}");
    }
}

#[test]
fn no_secret_in_debug_or_in_parse_errors() {
    let place = Place::new(FILE).env(&[]);
    for options in [ProfileOptions::default(), named("job")] {
        let shown = format!("{:?}", place.load(&options).unwrap());
        assert!(!shown.contains("s3cr3t") && !shown.contains("tok-123"), "{shown}");
    }
    let broken = "[profile.default]\nsecret_key = \"s3cr3t\" trailing\n";
    let error = Place::new(broken).env(&[]).load(&ProfileOptions::default()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error:?}");
}
