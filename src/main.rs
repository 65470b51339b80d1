//! Parses arguments, hands over, and exits with a code.
fn main() {
    let path = std::env::args().nth(1).unwrap_or_default();
    let mut o = verdigris::app::Options::new(path);
    o.signals = true;
    match verdigris::app::start(o) {
        Ok(r) => r.join(),
        Err(e) => eprintln!("{e:#}"),
    }
}
