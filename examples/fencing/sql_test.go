package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sqlite runs the statements of the page as two instances would, each with a
// connection of its own.
const sqlite = `
import json, sqlite3, sys
make, up, guard, insert = json.loads(sys.argv[2])
old, new = (sqlite3.connect(sys.argv[1], timeout=0.1) for _ in range(2))
for statement in make:
    old.execute(statement)
old.commit()

def begin(c, epoch):
    changed = c.execute(up, {"epoch": epoch}).rowcount
    c.commit()
    return changed == 1

def write(c, epoch, n):
    if c.execute(guard, {"epoch": epoch}).rowcount == 0:
        c.rollback()
        return False
    c.execute(insert, {"n": n, "epoch": epoch, "line": "x"})
    c.commit()
    return True

assert begin(old, 2**62) and write(old, 2**62, 1)
assert not begin(new, 7), "a lower epoch raised the fence"
old.execute(guard, {"epoch": 2**62})
try:
    begin(new, 2**62 + 1)
    sys.exit("the fence was raised within a write of the old instance")
except sqlite3.OperationalError:
    new.rollback()
old.execute(insert, {"n": 2, "epoch": 2**62, "line": "x"})
old.commit()
assert begin(new, 2**62 + 1)
assert not write(old, 2**62, 3), "an old instance wrote"
assert not begin(old, 2**62), "an old instance lowered the fence"
assert write(new, 2**62 + 1, 3)
assert begin(new, 2**62 + 1), "an instance that is restarted in place is refused"
print(old.execute("SELECT n, epoch - :base FROM ledger ORDER BY n", {"base": 2**62}).fetchall())
`

// TestSQL: the statements of docs/fencing.md do what the page says.
func TestSQL(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: no python3, whose SQLite runs the statements")
	}
	page, err := os.ReadFile("../../docs/fencing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## SQL\n")
	_, block, _ := strings.Cut(section, "```\n")
	block, _, _ = strings.Cut(block, "```")
	var statements []string
	for statement := range strings.SplitSeq(block, ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			statements = append(statements, statement)
		}
	}
	if len(statements) != 6 {
		t.Fatalf("the page has the statements %q", statements)
	}
	args, err := json.Marshal([]any{statements[:3], statements[3], statements[4], statements[5]})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(python, "-c", sqlite, filepath.Join(t.TempDir(), "db"), string(args)).CombinedOutput()
	if want := "[(1, 0), (2, 0), (3, 1)]\n"; err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
}
