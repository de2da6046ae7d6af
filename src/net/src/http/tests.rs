//! The client against servers of a few lines that answer as they are told.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::http::{Call, Client, HttpError, Limits, Method, Request, Setup};

const TOKEN: &str = "s3cret-t0ken";

/// Answers every connection with the bytes and closes it. Returns the address and what was asked.
async fn server(answer: &str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (answer, heard) = (answer.to_owned(), asked.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap_or(0);
            heard.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
            if answer.is_empty() {
                tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            }
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (format!("http://{address}/v1"), asked)
}

fn client(base: &str) -> Client {
    let limits = Limits { call_seconds: 1, body_bytes_max: 100, ..Limits::default() };
    setup(base, TOKEN, limits, Arc::new(|_: &Call| {})).unwrap()
}

fn setup(
    base: &str,
    token: &str,
    limits: Limits,
    observer: Arc<dyn crate::http::Observer>,
) -> Result<Client, HttpError> {
    Client::new(Setup { base, token: Some(SecretString::from(token.to_owned())), limits, observer })
}

fn get(client: &Client) -> impl Future<Output = Result<crate::http::Response, HttpError>> {
    let client = client.clone();
    async move { client.send(&Request::new(Method::Get, ["servers"])).await }
}

#[tokio::test]
async fn a_request_carries_path_query_body_and_token() {
    let (base, asked) = server("HTTP/1.1 201 Created\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}").await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let heard = calls.clone();
    let observer = Arc::new(move |call: &Call| heard.lock().unwrap().push(call.clone()));
    let client = setup(&base, TOKEN, Limits::default(), observer).unwrap();
    let request =
        Request::new(Method::Post, ["zones", "a/b", "@"]).query("id", 1).query("id", "x y").json(b"{}".into());
    let answer = client.send(&request).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (201, Some("7")));
    assert_eq!(answer.body, b"{}");
    let asked = asked.lock().unwrap()[0].to_lowercase();
    assert!(asked.starts_with("post /v1/zones/a%2fb/@?id=1&id=x+y http/1.1\r\n"), "{asked}");
    for line in ["authorization: bearer s3cret-t0ken", "user-agent: claw/", "content-type: application/json"] {
        assert!(asked.contains(line), "{line} in {asked}");
    }
    let calls = calls.lock().unwrap();
    let call = &calls[0];
    assert_eq!((call.number, call.method, call.status), (1, Method::Post, Some(201)));
    assert_eq!((call.path.as_str(), client.calls()), ("/zones/a/b/@", 1));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
    let (base, _) =
        server(&format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}/x\r\nContent-Length: 0\r\n\r\n")).await;
    let error = get(&client(&base)).await.unwrap_err();
    assert_eq!(error, HttpError::Redirected { host: "127.0.0.1".into(), status: 302 });
    assert!(asked.lock().unwrap().is_empty(), "nobody was asked elsewhere");
}

#[tokio::test]
async fn a_body_that_is_cut_off_or_too_large_is_no_answer() {
    let (base, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"servers\": [").await;
    let error = get(&client(&base)).await.unwrap_err();
    assert!(matches!(error, HttpError::CutOff { .. }), "{error:?}");
    assert!(error.may_have_arrived());
    let (base, _) = server(&format!("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{}", "x".repeat(101))).await;
    let error = get(&client(&base)).await.unwrap_err();
    assert_eq!(error, HttpError::TooLarge { host: "127.0.0.1".into(), bytes_max: 100 });
}

#[tokio::test]
async fn each_phase_has_its_own_error() {
    let (base, _) = server("").await;
    let error = get(&client(&base)).await.unwrap_err();
    assert_eq!(error, HttpError::TimedOut { host: "127.0.0.1".into(), seconds: 1 });
    assert!(error.may_have_arrived());

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = get(&client(&format!("http://{free}"))).await.unwrap_err();
    assert!(matches!(&error, HttpError::Connect { why, .. } if why.contains("refused")), "{error:?}");
    assert!(!error.may_have_arrived());

    let (plain, _) = server("HTTP/1.1 200 OK\r\n\r\n").await;
    let error = get(&client(&plain.replace("http:", "https:"))).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { .. }), "{error:?}");
    assert!(!error.may_have_arrived());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_as_such() {
    let error = get(&client("https://no-such-name.invalid")).await.unwrap_err();
    // behind a proxy the proxy resolves the name
    let expected = matches!(error, HttpError::Resolve { .. } | HttpError::Connect { .. } | HttpError::TimedOut { .. });
    assert!(expected, "{error:?}");
}

#[test]
fn only_https_leaves_this_machine() {
    let quiet = || Arc::new(|_: &Call| {});
    for base in ["http://api.example.com", "ftp://127.0.0.1", "nonsense", "https://user@example.com"] {
        let error = setup(base, TOKEN, Limits::default(), quiet()).unwrap_err();
        assert!(matches!(error, HttpError::Setup { .. }), "{base}: {error:?}");
    }
    for base in ["https://api.example.com/v1", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
        setup(base, TOKEN, Limits::default(), quiet()).unwrap();
    }
}

#[tokio::test]
async fn the_token_is_in_no_error_and_no_debug_output() {
    let (base, _) = server("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n").await;
    let client = client(&base);
    let error = get(&client).await.unwrap_err();
    let bad = setup(&base, "s3cret-t0ken\n", Limits::default(), Arc::new(|_: &Call| {})).unwrap_err();
    for text in [format!("{client:?}"), format!("{error} {error:?}"), format!("{bad} {bad:?}")] {
        assert!(!text.contains("s3cret"), "{text}");
    }
}

#[tokio::test]
async fn a_path_that_would_mean_something_else_is_refused() {
    let (base, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    for segment in ["", ".", ".."] {
        let error = client(&base).send(&Request::new(Method::Delete, ["servers", segment])).await.unwrap_err();
        assert!(matches!(error, HttpError::Setup { .. }), "{error:?}");
    }
    assert!(asked.lock().unwrap().is_empty());
}
