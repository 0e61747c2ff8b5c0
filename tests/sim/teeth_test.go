package sim

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var (
	flagTeeth    = flag.Bool("teeth", false, "TestTeeth: build and live with broken protocols (make teeth)")
	flagToothRun = flag.String("tooth", "", "TestTeeth: only those whose name contains this")
)

// A tooth is one way to break the protocol: a change of the source, which the
// simulation must notice. The change is made in the compiler's view of the
// files (go build -overlay), never in the files.
type tooth struct {
	name  string
	by    string // a regular expression that the violation must match
	edits []edit
}

// edit replaces the only occurrence of old in a file below the module's root.
type edit struct{ file, old, new string }

// toothLives and toothHours bound the search for a violation; TestSim lives at
// least as long.
const (
	toothLives = 120
	toothHours = 3
)

// caught matches the report of a violation, not of a crash.
var caught = regexp.MustCompile(`seed (\d+) at (\S+): ([A-Z]\d\S*|machine|reply): (.*)`)

// TestTeeth: a simulation that finds nothing proves something only if it finds
// what is broken.
func TestTeeth(t *testing.T) {
	if !*flagTeeth {
		t.Skip("takes minutes: make teeth")
	}
	parallel := make(chan struct{}, min(2, runtime.GOMAXPROCS(0)))
	for _, tt := range teeth {
		if !strings.Contains(tt.name, *flagToothRun) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parallel <- struct{}{}
			defer func() { <-parallel }()
			bite(t, &tt)
		})
	}
}

// TestTeethFit: every edit finds exactly the place it was made for.
func TestTeethFit(t *testing.T) {
	for _, tt := range teeth {
		files, err := tt.apply("../..")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if len(files) == 0 {
			t.Errorf("%s changes nothing", tt.name)
		}
	}
}

// apply returns the changed text of each file.
func (tt *tooth) apply(root string) (map[string]string, error) {
	files := map[string]string{}
	for _, e := range tt.edits {
		text, ok := files[e.file]
		if !ok {
			b, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				return nil, fmt.Errorf("read the file to break: %w", err)
			}
			text = string(b)
		}
		if n := strings.Count(text, e.old); n != 1 {
			return nil, fmt.Errorf("%s has %d times, not once: %s", e.file, n, e.old)
		}
		files[e.file] = strings.Replace(text, e.old, e.new, 1)
	}
	return files, nil
}

// bite builds this package with the broken protocol and lives with it.
func bite(t *testing.T, tt *tooth) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "sim.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-overlay", tt.overlay(t), "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), bin, "-test.run", "^TestSim$", "-test.v", "-test.timeout", "10m",
		fmt.Sprint("-seeds=", toothLives), fmt.Sprint("-hours=", toothHours))
	run.Env = append(os.Environ(), "GOMAXPROCS=1")
	out, err := run.CombinedOutput()
	m := caught.FindSubmatch(out)
	switch {
	case err == nil:
		t.Errorf("not noticed in %d lives of %d hours\n%s", toothLives, toothHours, out)
	case m == nil:
		t.Errorf("no violation was reported: %v\n%.3000s", err, out)
	case !regexp.MustCompile("^(?:" + tt.by + ")").Match(bytes.Join(m[3:5], []byte(": "))):
		t.Errorf("noticed, but by something else: %s", m[0])
	default:
		t.Logf("noticed by %s in seed %s after %s: %s", m[3], m[1], m[2], m[4])
	}
}

// overlay writes the changed files and the list of them for the compiler.
func (tt *tooth) overlay(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	files, err := tt.apply(root)
	if err != nil {
		t.Fatal(err)
	}
	dir, replace := t.TempDir(), map[string]string{}
	for name, text := range files {
		broken := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(broken, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, name)] = broken
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	fileAlarm    = "manager/machine/alarm.go"
	fileBucket   = "manager/machine/bucket.go"
	fileClaim    = "manager/machine/claim.go"
	fileClose    = "manager/machine/close.go"
	fileMachine  = "manager/machine/machine.go"
	fileMember   = "manager/machine/member.go"
	fileOwner    = "manager/machine/owner.go"
	fileRequest  = "manager/machine/request.go"
	fileSession  = "manager/machine/session.go"
	fileTakeover = "manager/machine/takeover.go"
	fileRecord   = "policy/record.go"
)

var teeth = []tooth{
	{"fence counted from the acknowledgement", `I[1248]`, []edit{
		{fileSession, "s.rev = cell.Rev\n\t\t\tm.prolong(r.sent)", "s.rev = cell.Rev\n\t\t\tm.prolong(m.now)"},
	}},
	{"a repeated renewal counts from the repeat", `I[1248]`, []edit{
		{fileRequest, "\tr.write.Alt = alternate\n", "\tr.write.Alt = alternate\n\tr.sent = m.now\n"},
	}},
	{"a registration that was read prolongs", `I[1248]`, []edit{
		{fileSession, "fenced: m.session.fenced}\n\tm.beats.changed = true\n}", "fenced: m.session.fenced}\n\tm.beats.changed = true\n\tm.prolong(m.now)\n}"},
	}},
	{"no self-fence", `machine|I4`, []edit{
		{fileSession, "func (m *Machine) fenceIfDue() {\n", "func (m *Machine) fenceIfDue() {\n\tif m.cfg.Self != \"\" {\n\t\treturn\n\t}\n"},
	}},
	{"expiry counts from the first sight of the session", `I8`, []edit{
		{fileMember, "\tmb.cell, mb.seen = c, m.now\n", "\tif old.Node == nil || c.Node.Session != old.Node.Session {\n\t\tmb.seen = m.now\n\t}\n\tmb.cell = c\n"},
	}},
	{"an expiry that was only sent counts", `A1/A3|I[18]|S1`, []edit{
		{fileMember, "\tmb.req.member = mb\n", "\tmb.req.member = mb\n\tmb.cell.Node = &rec\n"},
	}},
	{"expiry after the own TTL, whatever the other's", `I8`, []edit{
		{fileMember, "max(m.cfg.Lease.TTL, rec.TTL)", "m.cfg.Lease.TTL"},
	}},
	{"expire only with a session", `I5`, []edit{
		{fileMember, "\tcase m.passed(mb.seen.Add(", "\tcase m.session.id != \"\" && m.passed(mb.seen.Add("},
	}},
	{"certified without proof", `S4|I4`, []edit{
		{fileMember, "\tif ev.Gone {\n", "\tif ev.Agent != \"\" {\n"},
	}},
	{"ended by another session without the revision", `A1/A3|I[14]`, []edit{
		{fileRecord, "return c.Rev > s.SRev", "return true"},
	}},
	{"a session that was replaced has not ended", `I5/I6|I6`, []edit{
		{fileRecord, "return c.Rev > s.SRev", "return false"},
	}},
	{"a live cell is overwritten by a restart", `S1`, []edit{
		{fileSession, "return rec == nil || rec.Agent == m.cfg.Agent", "return rec == nil || rec.Agent != \"\""},
	}},
	{"registered while processes are alive", `S1`, []edit{
		{fileSession, "|| m.anyDistributed() ", ""},
	}},
	{"closed before the processes are gone", `I4`, []edit{
		{fileClose, "if m.life != lifeClosing || m.anyRun() {", "if m.life != lifeClosing {"},
	}},
	{"an unknown claim is taken for granted", `I2`, []edit{
		{fileRequest, "\tif r.op == OpRenew && m.session.valid(m.now) {\n", "\tif r.op == OpClaim {\n\t\tm.forget(r)\n\t\tm.accepted(r, r.write.Expect+1)\n\t\treturn\n\t}\n\tif r.op == OpRenew && m.session.valid(m.now) {\n"},
	}},
	{"the answer to an older claim counts", `I2`, []edit{
		{fileRequest, "func (m *Machine) forget(r *request) {\n\tdelete(m.requests, r.writes)\n", "func (m *Machine) forget(r *request) {\n\tif r.op != OpClaim {\n\t\tdelete(m.requests, r.writes)\n\t}\n"},
		{fileRequest, "ev.Req || r.settled {", "ev.Req || r.settled && r.op != OpClaim {"},
	}},
	{"resumed without a new claim", `I2`, []edit{
		{fileMachine, "s.Node == m.cfg.Self && m.session.id != \"\" && s.Session == m.session.id", "s.Node == m.cfg.Self && m.session.id != \"\""},
		{fileOwner, "\ta.claim = nil\n\tif m.claimable(a)", "\tif a.rec.Owner.Session != m.session.id {\n\t\ta.claim = &claim{epoch: a.rec.Owner.Epoch, nonce: a.rec.Owner.Nonce, session: m.session.id}\n\t\tm.touch()\n\t\treturn\n\t}\n\ta.claim = nil\n\tif m.claimable(a)"},
	}},
	{"released before the app is gone", `A1/A3`, []edit{
		{fileOwner, "\tcase a.run != nil:\n\tcase why", "\tcase a.run != nil && !a.run.ordered:\n\tcase why"},
	}},
	{"restarted after a release of unknown outcome", `I2`, []edit{
		{fileOwner, "func (m *Machine) release(a *app) {\n\tif a.claim != nil {\n\t\ta.claim.givenUp = true\n", "func (m *Machine) release(a *app) {\n\tif a.claim != nil {\n\t\ta.claim.over = nil\n"},
	}},
	{"started on the release, without a claim", `I2`, []edit{
		{fileTakeover, "\tcase m.claimable(a) && m.chosen(a):\n\t\tm.sendClaim(a)\n\t}\n}", "\tcase a.rec.Owner.Empty() && a.run == nil:\n\t\ta.claim = &claim{epoch: a.allot(m), nonce: policy.Nonce(m.cfg.NewID()), session: m.session.id}\n\t\tm.start(a)\n\t}\n}"},
	}},
	{"a reservation is not counted in high", `I3`, []edit{
		{fileTakeover, "\t\trec.High = c.epoch\n", ""},
	}},
	{"the old owner is not named in prev", `A1/A3`, []edit{
		{fileTakeover, "\t\t\trec.Prev = old\n", ""},
	}},
	{"a live reservation is replaced (overlap)", `I1|A1/A3`, []edit{
		{fileClaim, "\tcase !a.exclusive():\n\t\treturn false\n\tcase !a.rec.Owner.Empty():", "\tcase !a.exclusive():\n\t\treturn true\n\tcase !a.rec.Owner.Empty():"},
	}},
	{"a dead next is never cleared", `I5/I6: .*next is "n`, []edit{
		{fileOwner, "case !rec.Next.Empty() && m.ended(rec.Next):", "case false:"},
	}},
	{"an own landed claim can't be claimed", `I5/I6: .*no instance|I5`, []edit{
		{fileClaim, "case owner.Empty() || m.mine(owner):", "case owner.Empty():"},
		{fileOwner, "\tm.release(a)\n}\n\n// restartInPlace", "}\n\n// restartInPlace"},
	}},
	{"the Timeout is cancelled by the return of the node", `I5/I6: .*no instance|I6`, []edit{
		{fileClaim, "mb.present() && mb.beat.Session == a.rec.Owner.Session && !m.ended(a.rec.Owner)", "mb.present()"},
	}},
	{"a lost bucket's successor is acted on at once", `I[145]|A1/A3|S1`, []edit{
		{fileBucket, "if m.knowsBucket() || ", "if b.ready || m.knowsBucket() || "},
		{fileClaim, "a.started && m.passed(a.missing.Add(m.quarantine())):", "a.started:"},
	}},
	{"an alarm for any two that are heard to run", `I9`, []edit{
		{fileAlarm, "m.echoed(b) > l.mark", "m.echoed(b) >= 0"},
	}},
	{"an alarm for a reservation that came to nothing", `I9`, []edit{
		{fileAlarm, "case ab.Run >= rec.Owner.Epoch:", "case ab.Run > rec.High:"},
	}},
	{"an alarm for an old picture of the bucket", `I9`, []edit{
		{fileAlarm, "case same && c.Rev <= l.highAt:", "case same && c.Rev == l.highAt:"},
	}},
	{"the barrier is not waited for", `I7`, []edit{
		{fileMachine, "if !m.hasBarrier() {", "if m.cfg.Self != \"\" {"},
	}},
}
