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
	"slices"
	"strings"
	"testing"
)

var (
	flagTeeth    = flag.Bool("teeth", false, "TestTeeth: build and live with broken protocols (make teeth)")
	flagToothRun = flag.String("tooth", "", "TestTeeth: only those whose name contains this")
)

// A tooth is one way to break the protocol: a change of the source, which the
// simulation must notice, or a test of the package if it is about what the
// simulation only models. The change is made in the compiler's view of the files
// (go build -overlay), never in the files.
type tooth struct {
	name  string
	by    string // a regular expression that the violation must match; or, with pkg, the name of the test
	edits []edit
	pkg   string // below the module's root; empty: this one
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
var caught = regexp.MustCompile(`seed (\d+) at (\S+): ([A-Z]\d\S*|machine|reply|sleep|rule 9|alarm): (.*)`)

// TestTeeth: a simulation that finds nothing proves something only if it finds
// what is broken.
func TestTeeth(t *testing.T) {
	if !*flagTeeth {
		t.Skip("takes minutes: make teeth")
	}
	parallel := make(chan struct{}, min(2, runtime.GOMAXPROCS(0)))
	for _, tt := range slices.Concat(teeth, packageTeeth) {
		if !strings.Contains(tt.name, *flagToothRun) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parallel <- struct{}{}
			defer func() { <-parallel }()
			if tt.pkg != "" {
				biteTest(t, &tt)
				return
			}
			bite(t, &tt)
		})
	}
}

// TestTeethFit: every edit finds exactly the place it was made for.
func TestTeethFit(t *testing.T) {
	for _, tt := range slices.Concat(teeth, packageTeeth) {
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

// biteTest runs a test of the broken package, which must fail.
func biteTest(t *testing.T, tt *tooth) {
	t.Helper()
	run := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout=1m", "-overlay", tt.overlay(t), "-run", "^"+tt.by+"$", "./"+tt.pkg)
	run.Dir = "../.."
	out, err := run.CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("--- FAIL: "+tt.by)) {
		t.Errorf("not noticed by %s: %v\n%.3000s", tt.by, err, out)
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
	fileAlarm     = "manager/machine/alarm.go"
	fileBucket    = "manager/machine/bucket.go"
	fileChecker   = "tests/sim/checkers/checker.go"
	fileInstances = "tests/sim/checkers/instances.go"
	fileClaim     = "manager/machine/claim.go"
	fileClose     = "manager/machine/close.go"
	fileMachine   = "manager/machine/machine.go"
	fileMember    = "manager/machine/member.go"
	fileOwner     = "manager/machine/owner.go"
	filePermit    = "manager/machine/permit.go"
	fileRequest   = "manager/machine/request.go"
	fileSession   = "manager/machine/session.go"
	fileTakeover  = "manager/machine/takeover.go"
	fileRecord    = "policy/record.go"
	fileApp       = "manager/machine/app.go"
	fileRun       = "manager/machine/run.go"
	fileVigil     = "manager/warden/vigil/vigil.go"
	fileWatch     = "manager/warden/watch_linux.go"
	fileProve     = "manager/samehost/prove_linux.go"
	fileLoop      = "manager/agent/loop.go"
	fileCAS       = "kv/cas.go"
	fileStore     = "tests/sim/store.go"
	fileWarden    = "tests/sim/warden.go"
	fileAgent     = "tests/sim/agent.go"
)

var teeth = []tooth{
	{name: "fence counted from the acknowledgement", by: `I[1248]`, edits: []edit{
		{fileSession, "s.rev = cell.Rev\n\t\t\tm.prolong(r.sent)", "s.rev = cell.Rev\n\t\t\tm.prolong(m.now)"},
	}},
	{name: "a repeated renewal counts from the repeat", by: `I[1248]`, edits: []edit{
		{fileRequest, "\tr.write.Alt = alternate\n", "\tr.write.Alt = alternate\n\tr.sent = m.now\n"},
	}},
	{name: "a registration that was read prolongs", by: `I[1248]`, edits: []edit{
		{fileSession, "fenced: m.session.fenced}\n\tm.beats.changed = true\n}", "fenced: m.session.fenced}\n\tm.beats.changed = true\n\tm.prolong(m.now)\n}"},
	}},
	{name: "no self-fence", by: `machine|I4`, edits: []edit{
		{fileSession, "func (m *Machine) fenceIfDue() {\n", "func (m *Machine) fenceIfDue() {\n\tif m.cfg.Self != \"\" {\n\t\treturn\n\t}\n"},
	}},
	{name: "expiry counts from the first sight of the session", by: `I8`, edits: []edit{
		{fileMember, "\tmb.cell, mb.seen = c, m.now\n", "\tif old.Node == nil || c.Node.Session != old.Node.Session {\n\t\tmb.seen = m.now\n\t}\n\tmb.cell = c\n"},
	}},
	{name: "an expiry that was only sent counts", by: `A1/A3|I[18]|S1`, edits: []edit{
		{fileMember, "\tmb.req.member = mb\n", "\tmb.req.member = mb\n\tmb.cell.Node = &rec\n"},
	}},
	{name: "expiry after the own TTL, whatever the other's", by: `I9`, edits: []edit{
		{fileMember, "max(m.cfg.Lease.TTL, rec.TTL)", "m.cfg.Lease.TTL"},
	}},
	{name: "expire only with a session", by: `I5`, edits: []edit{
		{fileMember, "\tcase m.passed(mb.seen.Add(", "\tcase m.session.id != \"\" && m.passed(mb.seen.Add("},
	}},
	{name: "certified without proof", by: `S4|I4`, edits: []edit{
		{fileMember, "\tif ev.Gone {\n", "\tif ev.Agent != \"\" {\n"},
	}},
	{name: "ended by another session without the revision", by: `A1/A3|I[14]`, edits: []edit{
		{fileRecord, "return c.Rev > s.SRev", "return true"},
	}},
	{name: "a session that was replaced has not ended", by: `I5/I6|I6`, edits: []edit{
		{fileRecord, "return c.Rev > s.SRev", "return false"},
	}},
	{name: "a live cell is overwritten by a restart", by: `S1`, edits: []edit{
		{fileSession, "return rec == nil || rec.Agent == m.cfg.Agent", "return rec == nil || rec.Agent != \"\""},
	}},
	{name: "registered while processes are alive", by: `S1`, edits: []edit{
		{fileSession, "|| m.anyDistributed() ", ""},
	}},
	{name: "closed before the processes are gone", by: `I4`, edits: []edit{
		{fileClose, "if m.life != lifeClosing || m.anyRun() {", "if m.life != lifeClosing {"},
	}},
	{name: "an unknown claim is taken for granted", by: `I2`, edits: []edit{
		{fileRequest, "\tif r.op == OpRenew && m.session.valid(m.now) {\n", "\tif r.op == OpClaim {\n\t\tm.forget(r)\n\t\tm.accepted(r, r.write.Expect+1)\n\t\treturn\n\t}\n\tif r.op == OpRenew && m.session.valid(m.now) {\n"},
	}},
	{name: "the answer to an older claim counts", by: `I2`, edits: []edit{
		{fileRequest, "func (m *Machine) forget(r *request) {\n\tdelete(m.requests, r.writes)\n", "func (m *Machine) forget(r *request) {\n\tif r.op != OpClaim {\n\t\tdelete(m.requests, r.writes)\n\t}\n"},
		{fileRequest, "ev.Req || r.settled {", "ev.Req || r.settled && r.op != OpClaim {"},
	}},
	{name: "resumed without a new claim", by: `I2`, edits: []edit{
		{fileMachine, "s.Node == m.cfg.Self && m.session.id != \"\" && s.Session == m.session.id", "s.Node == m.cfg.Self && m.session.id != \"\""},
		{fileOwner, "\ta.claim = nil\n\tif m.claimable(a)", "\tif a.rec.Owner.Session != m.session.id {\n\t\ta.claim = &claim{epoch: a.rec.Owner.Epoch, nonce: a.rec.Owner.Nonce, session: m.session.id}\n\t\tm.touch()\n\t\treturn\n\t}\n\ta.claim = nil\n\tif m.claimable(a)"},
	}},
	{name: "released before the app is gone", by: `A1/A3`, edits: []edit{
		{fileOwner, "\tcase a.run != nil:\n\tcase why", "\tcase a.run != nil && !a.run.ordered:\n\tcase why"},
	}},
	{name: "restarted after a release of unknown outcome", by: `I2`, edits: []edit{
		{fileOwner, "func (m *Machine) release(a *app) {\n\tif a.claim != nil {\n\t\ta.claim.givenUp = true\n", "func (m *Machine) release(a *app) {\n\tif a.claim != nil {\n\t\ta.claim.over = nil\n"},
	}},
	{name: "started on the release, without a claim", by: `I2`, edits: []edit{
		{fileTakeover, "\tcase m.claimable(a) && m.chosen(a):\n\t\tm.sendClaim(a)\n\t}\n}", "\tcase a.rec.Owner.Empty() && a.run == nil:\n\t\ta.claim = &claim{epoch: a.allot(m), nonce: policy.Nonce(m.cfg.NewID()), session: m.session.id}\n\t\tm.start(a)\n\t}\n}"},
	}},
	{name: "a reservation is not counted in high", by: `I3`, edits: []edit{
		{fileTakeover, "\t\trec.High = c.epoch\n", ""},
	}},
	{name: "the old owner is not named in prev", by: `A1/A3`, edits: []edit{
		{fileTakeover, "\t\t\trec.Prev = old\n", ""},
	}},
	{name: "a live reservation is replaced (overlap)", by: `I1|A1/A3`, edits: []edit{
		{fileClaim, "\tcase !a.exclusive():\n\t\treturn false\n\tcase !a.rec.Owner.Empty():", "\tcase !a.exclusive():\n\t\treturn true\n\tcase !a.rec.Owner.Empty():"},
	}},
	{name: "a dead next is never cleared", by: `I5/I6: .*next is "n`, edits: []edit{
		{fileOwner, "case !rec.Next.Empty() && m.ended(rec.Next):", "case false:"},
	}},
	{name: "an own landed claim can't be claimed", by: `I5/I6: .*no instance|I5`, edits: []edit{
		{fileClaim, "case owner.Empty() || m.mine(owner):", "case owner.Empty():"},
		{fileOwner, "\tm.release(a)\n}\n\n// restartInPlace", "}\n\n// restartInPlace"},
	}},
	{name: "the Timeout is cancelled by the return of the node", by: `I5/I6: .*no instance|I6`, edits: []edit{
		{fileClaim, "mb.present() && mb.beat.Session == a.rec.Owner.Session && !m.ended(a.rec.Owner)", "mb.present()"},
	}},
	{name: "a lost bucket's successor is acted on at once", by: `I[145]|A1/A3|S1`, edits: []edit{
		{fileBucket, "if m.knowsBucket() || ", "if b.ready || m.knowsBucket() || "},
		{fileClaim, "(a.started || a.stopping) && m.passed(a.missing.Add(m.quarantine())):", "a.started:"},
	}},
	{name: "an alarm for any two that are heard to run", by: `alarm`, edits: []edit{
		{fileAlarm, "m.echoed(b) > l.mark", "m.echoed(b) >= 0"},
	}},
	{name: "an alarm for an old picture of the bucket", by: `alarm`, edits: []edit{
		{fileAlarm, "case same && c.Rev <= l.highAt:", "case same && c.Rev == l.highAt:"},
	}},
	{name: "the barrier is not waited for", by: `I7`, edits: []edit{
		{fileMachine, "if !m.hasBarrier() {", "if m.cfg.Self != \"\" {"},
	}},
	{name: "expiry without compare-and-set", by: `I[1489]|A1/A3`, edits: []edit{
		{fileStore, "if r.last() != w.Expect {", "if n := w.Cell.Node; r.last() != w.Expect && (n == nil || n.State != policy.SessionExpired) {"},
	}},
	{name: "a refused expiry has happened", by: `A1/A3|I[148]|S1`, edits: []edit{
		{fileRequest, "\tcase policy.OutcomeRefused:\n", "\tcase policy.OutcomeRefused:\n\t\tif r.op == OpExpire {\n\t\t\tm.forget(r)\n\t\t\tm.accepted(r, r.write.Expect+1)\n\t\t\treturn\n\t\t}\n"},
	}},
	{name: "the epoch is the revision", by: `I[23]`, edits: []edit{
		{fileApp, "\ta.allotted = max(a.allotted, m.heardEpoch(a)) + 1\n", "\ta.allotted = policy.Epoch(m.bucket.most) + 1\n"},
	}},
	{name: "a host that slept stops nothing", by: `sleep|I[14]`, edits: []edit{
		{fileSession, "\tm.fence(\"the host slept or stood still\")\n", ""},
	}},
	{name: "a store that was set back and went on is an old picture", by: `rule 9|I[1358]|A1/A3|S1`, edits: []edit{
		{fileBucket, "\tif m.forgotten() {", "\tif m.forgotten() && false {"},
		{fileBucket, "case !b.regress && m.overtaken():", "case false:"},
		{fileRequest, "if ev.Rev <= r.seen {", "if false {"},
		{fileBucket, "if b.ahead > 0 && b.lost == ", "if false && b.lost == "},
	}},
	{name: "certified, and the groups not killed", by: `I4`, edits: []edit{
		{fileVigil, "[]Target[G]{{Agent: true}}, v.targets()...)", "[]Target[G]{{Agent: true}})"},
		{fileVigil, "case agentGone && len(v.groups) == 0:", "case agentGone:"},
	}},
	{name: "certified by the agent's pid alone", by: `I4`, edits: []edit{
		{fileVigil, "case agentGone && len(v.groups) == 0:", "case agentGone:"},
	}},
	{name: "the agent is left alive when its socket ends", by: `S4`, edits: []edit{
		{fileVigil, "[]Target[G]{{Agent: true}}, v.targets()...)", "[]Target[G]{}, v.targets()...)"},
		{fileVigil, "case agentGone && len(v.groups) == 0:", "case len(v.groups) == 0:"},
	}},
	{name: "certified by a plain put", by: `S[14]|I[148]`, edits: []edit{
		{fileWarden, "\trev, outcome := w.store.cas(&write, w.now)\n", "\twrite.Expect = w.store.register(write.Cell.Key).last()\n\trev, outcome := w.store.cas(&write, w.now)\n"},
	}},
	{name: "certified, whatever session is there", by: `S4|I4`, edits: []edit{
		{fileVigil, "rec == nil || rec.Agent != l.Agent ||", "rec == nil ||"},
	}},
	{name: "a certificate is accepted by the node's name", by: `A1/A3|I[148]|S[14]`, edits: []edit{
		{fileMember, "rec == nil || rec.Session != ev.Session || rec.Agent != ev.Agent {", "rec == nil {"},
		{fileMember, "\tif mb.present() && mb.agent == ev.Agent {\n", "\tdead := *mb.cell.Node\n\tdead.State = policy.SessionDead\n\tm.learnNode(policy.Cell{Key: policy.NodeKey(mb.name), Rev: ev.Rev, Node: &dead})\n\tif mb.present() && mb.agent == ev.Agent {\n"},
	}},
	{name: "a group that its warden does not know", by: `I4`, edits: []edit{
		{fileVigil, "func (v *Vigil[G]) Add(g G) { v.groups", "func (v *Vigil[G]) Add(g G) {\n\tif v.all {\n\t\treturn\n\t}\n\tv.groups"},
	}},
	{name: "proved by the agent's pid alone, on its host", by: `I4`, edits: []edit{
		{fileAgent, "\tif l.runs == 0 {\n", "\tif l.over {\n"},
	}},
}

// packageTeeth are the same in packages of which the simulation has only a model,
// or only a part.
var packageTeeth = []tooth{
	{name: "package machine: a registration from before a sleep counts", pkg: "manager/machine", by: "TestRule3Fence", edits: []edit{
		{fileSession, "\tif r := m.self.req; r != nil {\n\t\tm.settle(r)\n\t}\n}\n\n// ownCell", "}\n\n// ownCell"},
	}},
	{name: "package machine: an alarm for a reservation that came to nothing", pkg: "manager/machine", by: "TestNoAlarmForAReservationThatCameToNothing", edits: []edit{
		{fileAlarm, "case ab.Run >= rec.Owner.Epoch:", "case ab.Run > rec.High:"},
	}},
	{name: "package machine: restarted while a re-assertion is open", pkg: "manager/machine", by: "TestRule6Claim", edits: []edit{
		{fileRun, "if c.over != nil && a.reasserting() {", "if false {"},
	}},
	{name: "package machine: a stop is not written into a record that was lost", pkg: "manager/machine", by: "TestRule6Stop", edits: []edit{
		{fileClaim, "(a.started || a.stopping) && m.passed", "a.started && m.passed"},
	}},
	{name: "package machine: what was acknowledged is waited for, for ever", pkg: "manager/machine", by: "TestRule8BucketIdentity", edits: []edit{
		{fileBucket, "if b.ahead > 0 && b.lost == ", "if false && b.lost == "},
	}},
	{name: "package machine: a lease on disk is not waited for", pkg: "manager/machine", by: "TestRule8BucketIdentity", edits: []edit{
		{fileMachine, "m.longest = max(m.longest, cfg.Memory.Longest)", "_ = cfg"},
	}},
	{name: "package checkers: every write after a set back is excused", pkg: "tests/sim/checkers", by: "TestStray", edits: []edit{
		{fileChecker, "h != knew && ", "(h != knew || known) && "},
	}},
	{name: "package checkers: a set back excuses for good", pkg: "tests/sim/checkers", by: "TestSetBack", edits: []edit{
		{fileInstances, "if in.shaken && c.clock(in.life) > in.until {", "if false {"},
	}},
	{name: "package checkers: any longer lease is excused", pkg: "tests/sim/checkers", by: "TestLostBucket", edits: []edit{
		{fileInstances, "o.bucket < by.bucket && ", ""},
	}},
	{name: "package machine: an owner without permission waits for one that does nothing", pkg: "manager/machine", by: "TestOverlapPermit", edits: []edit{
		{filePermit, " && !m.passed(a.barred.Add(m.cfg.Lease.TRes()))", ""},
	}},
	{name: "package machine: a start over an owner that is heard again is still one", pkg: "manager/machine", by: "TestStartOverADeadOwner", edits: []edit{
		{fileClaim, `a.suspect, a.bereft = "", ""`, `a.suspect = ""`},
	}},
	{name: "package machine: failed for ever", pkg: "manager/machine", by: "TestFirstStartGo", edits: []edit{
		{fileApp, `a.failed, m.beats.changed = "", true`, "m.beats.changed = true"},
	}},
	{name: "package sim: released before the app is gone, by orders", pkg: "tests/sim", by: "TestAllOrders", edits: []edit{
		{fileOwner, "\tcase a.run != nil:\n\tcase why", "\tcase a.run != nil && !a.run.ordered:\n\tcase why"},
	}},
	{name: "package samehost: proved by the agent's pid alone", pkg: "manager/samehost", by: "TestProofNeedsAgentAndGroupsGone", edits: []edit{
		{fileProve, "\tfor _, g := range groups {\n\t\talive, err := g.Alive()", "\tfor _, g := range groups[:0] {\n\t\talive, err := g.Alive()"},
	}},
	{name: "package samehost: another PID namespace is the same host", pkg: "manager/samehost", by: "TestNoProof", edits: []edit{
		{fileProve, "case rec.Host != here:", "case rec.Host.BootID != here.BootID:"},
	}},
	{name: "package warden: the agent is left alive", pkg: "manager/warden", by: "TestAgentStandsStill", edits: []edit{
		{fileWatch, "\t\t\tw.agent.kill()\n", ""},
	}},
	{name: "package warden: the groups are not killed", pkg: "manager/warden", by: "TestAgentKilled", edits: []edit{
		{fileWatch, "\t\tt.Group.kill()\n", ""},
	}},
	{name: "package warden: certified before the groups are gone", pkg: "manager/warden", by: "TestAgentKilled", edits: []edit{
		{fileWatch, "w.agent.gone(), group.gone)", "w.agent.gone(), func(group) bool { return true })"},
		{fileWatch, "\t\tt.Group.kill()\n", ""},
	}},
	{name: "package warden: a group is not entered", pkg: "manager/warden", by: "TestAgentKilled", edits: []edit{
		{fileWatch, "\t\tw.vigil.Add(*f.Add)\n", ""},
	}},
	{name: "package warden: the deadline is not watched", pkg: "manager/warden", by: "TestAgentStandsStill", edits: []edit{
		{fileWatch, "\tw.vigil.Arm(a.At)\n", ""},
	}},
	{name: "package vigil: a successor certifies what it was not told", pkg: "manager/warden/vigil", by: "TestVerdicts", edits: []edit{
		{fileVigil, "\t\tif !v.all {\n", "\t\tif v.life.Agent == \"\" {\n"},
	}},
	{name: "package vigil: certified by name", pkg: "manager/warden/vigil", by: "TestCertificate", edits: []edit{
		{fileVigil, "rec == nil || rec.Agent != l.Agent ||", "rec == nil ||"},
	}},
	{name: "package vigil: certified by a plain put", pkg: "manager/warden/vigil", by: "TestCertificate", edits: []edit{
		{fileVigil, ", Expect: c.Rev}", "}"},
	}},
	{name: "package agent: sleep is not noticed", pkg: "manager/agent", by: "TestWallClockJumpFences", edits: []edit{
		{fileLoop, "\tif slept {\n", "\tif slept && n == nil {\n"},
	}},
	{name: "package kv: no compare-and-set", pkg: "kv", by: "TestStoreOnOneServerConforms", edits: []edit{
		{fileCAS, "msg.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(uint64(*expect), 10))", "_ = strconv.FormatUint(uint64(*expect), 10)"},
	}},
}
