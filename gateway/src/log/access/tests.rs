//! The access log under a writer that keeps up, one that does not, and files that come and go.

use super::*;

fn temporary(name: &str) -> (std::path::PathBuf, String) {
    let directory =
        std::env::temp_dir().join(format!("sallyport-log-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("access.log").display().to_string();
    (directory, path)
}

#[test]
fn lines_reach_the_file_in_order() {
    let (directory, path) = temporary("order");
    let (writer, _thread) = LogWriter::start().unwrap();
    let mut log = writer.access_log();
    log.line(|_| panic!("off until a path is set"));
    log.set_path(Some(&path));
    for n in 0..10_000 {
        log.line(|buffer| writeln!(buffer, "{n}").unwrap());
    }
    log.flush();
    writer.finish();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(log.dropped(), 0);
    assert!(
        text.lines()
            .map(|l| l.parse::<u32>().unwrap())
            .eq(0..10_000)
    );
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_rotated_file_is_left_alone_after_reopen() {
    let (directory, path) = temporary("rotate");
    let (writer, _thread) = LogWriter::start().unwrap();
    let mut log = writer.access_log();
    log.set_path(Some(&path));
    log.line(|buffer| buffer.extend_from_slice(b"old\n"));
    log.flush();
    writer.finish();
    std::fs::rename(&path, format!("{path}.1")).unwrap();
    writer.reopen();
    log.line(|buffer| buffer.extend_from_slice(b"new\n"));
    log.flush();
    writer.finish();
    assert_eq!(
        std::fs::read_to_string(format!("{path}.1")).unwrap(),
        "old\n"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "new\n");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_full_disk_is_counted() {
    let (writer, _thread) = LogWriter::start().unwrap();
    let mut log = writer.access_log();
    log.set_path(Some("/dev/full"));
    log.line(|buffer| buffer.extend_from_slice(b"one\n"));
    log.line(|buffer| buffer.extend_from_slice(b"two\n"));
    log.flush();
    writer.finish();
    assert_eq!(writer.failed_lines(), 2);
}

#[test]
fn a_writer_that_is_behind_costs_lines_not_memory() {
    let (sender, receiver) = sync_channel(1);
    let mut log = AccessLog {
        sender,
        path: Some("/x".into()),
        buffer: Vec::new(),
        lines: 0,
        dropped: 0,
    };
    let line = [b'x'; 1024];
    for _ in 0..4_096 {
        log.line(|buffer| buffer.extend_from_slice(&line));
    }
    assert!(log.buffer.len() <= BUFFER_BYTES_MAX + line.len());
    let kept = log.lines
        + receiver
            .try_iter()
            .map(|message| match message {
                Message::Block { lines, .. } => lines,
                _ => 0,
            })
            .sum::<u64>();
    assert_eq!(kept + log.dropped(), 4_096, "every line is kept or counted");
    assert!(log.dropped() > 0);
}
