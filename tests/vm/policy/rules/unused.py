"""Compares the rules of a policy that a run has not used with a list that has a reason for each. It runs on the host."""
import re

# A row of the list may end so: the run may use the rule or not.
SOMETIMES = " (sometimes)"


def read(path, rules):
    """The rows of a list: rule -> whether it may also be used. And what is wrong with them: each must be one of the rules,
    and stand below a comment that has its reason."""
    rows, reason, wrong = {}, False, []
    with open(path) as file:
        for line in (line.rstrip("\n") for line in file):
            if line.startswith("#"):
                reason = True
                continue
            if not line:
                reason = False
                continue
            rule = line.removesuffix(SOMETIMES)
            if not reason or rule in rows:
                wrong.append("%s: %s" % ("twice" if rule in rows else "no reason", rule))
            rows[rule] = line != rule
    wrong += ["on the list, and no rule of the policy: %s" % rule for rule in rows if rule not in rules]
    return rows, wrong


def is_good(policy, path, rules):
    """Looks at the list alone. Prints what is wrong with it. Returns whether nothing is."""
    _, wrong = read(path, rules)
    for line in wrong:
        print("%s: %s: %s" % (policy, path.rsplit("/", 1)[1], line))
    return not wrong


def judge(policy, path, rules, used):
    """Prints the rules that were not used, and whether they are those of the list. Returns whether they are. `rules` has
    the texts of all rules, `used` those of the used ones."""
    rows, wrong = read(path, rules)
    unused = [rule for rule in rules if rule not in used]
    for rule in unused:
        print("note: unused: %s" % rule)
    print("note: %s: %d of %d rules were used" % (policy, len(rules) - len(unused), len(rules)))
    wrong += ["not used, and not on the list: %s" % rule for rule in unused if rule not in rows]
    wrong += ["used, and on the list: %s" % rule for rule, sometimes in rows.items() if rule in used and not sometimes]
    for line in wrong:
        print("note: %s" % line)
    name = path.rsplit("/", 1)[1]
    print("%s %s: the rules that nothing uses are those of %s" % ("not ok" if wrong else "ok", policy, name))
    return not wrong


# Marks in the audit log, between which break_ins() of sessions.py tries what processes of popward do not do.
BEGIN, END = "popward-break-ins-begin", "popward-break-ins-end"


def lines(log):
    """The lines of an audit log, without those of the break-ins."""
    inside = False
    with open(log, errors="replace") as file:
        for line in file:
            if BEGIN in line or END in line:
                inside = BEGIN in line
            elif not inside:
                yield line


def words(line):
    """The fields of a line of the audit log. The kernel writes a text with odd characters as hexadecimal digits."""
    found = {}
    for key, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|(\S+))', line):
        if bare and key in ("name", "target") and re.fullmatch("([0-9A-F]{2})+", bare):
            bare = bytes.fromhex(bare).decode(errors="replace")
        found[key] = bare or quoted
    return found
