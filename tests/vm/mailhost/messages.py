"""Messages that can be told from their numbers alone, and an agent that delivers them as one on a real host would."""
import fcntl, hashlib, os


def message(number):
    """Message `number` as it lies in a spool, From_ line and separator with it: 300 bytes to 12 KiB."""
    name = b"message %d" % number
    lines = 1 + int.from_bytes(hashlib.sha256(name).digest()[:2], "big") % 180
    if number % 3 == 0:
        lines = 1 + lines % 8
    body = b"".join(hashlib.sha256(b"%s line %d" % (name, i)).hexdigest().encode() + b"\n" for i in range(lines))
    body += b".\n..dots\n>From here on\nGr\xc3\xbc\xc3\x9fe\n"
    return (b"From sender%d@example.org Mon Nov 23 10:%02d:%02d 2026\n" % (number, number // 60 % 60, number % 60)
            + b"From: <sender%d@example.org>\nMessage-ID: <%d@example.org>\n" % (number, number)
            + b"X-Hash: " + hashlib.sha256(body).hexdigest().encode() + b"\n\n" + body + b"\n")


def spool(numbers):
    """A spool of these messages."""
    return b"".join(message(number) for number in numbers)


def retrieved(number):
    """What RETR sends of it, dots unstuffed, lines ended LF."""
    whole = message(number)
    return whole[whole.index(b"\n") + 1:-1]


def deliver(path, text, name):
    """Appends to a spool under dotlock and fcntl lock, and has it on disk. `name` goes into the dotlock."""
    lock = path + ".lock"
    draft = "%s.%s.%d" % (lock, name, os.getpid())
    with open(draft, "w") as file:
        file.write("%d:%s" % (os.getpid(), name))
    try:
        os.link(draft, lock)
    finally:
        os.unlink(draft)
    try:
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.seek(0, os.SEEK_END)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    finally:
        os.unlink(lock)


def to_text(numbers):
    """1,2,3,7 as 1-3,7."""
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else "%d-%d" % (a, b) for a, b in runs)


def from_text(text):
    numbers = []
    for run in filter(None, text.split(",")):
        first, _, last = run.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
