package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed7529eb29/regent/manager/machine"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// Version is the version of the envelope that Encode writes and the highest
// that Decode reads.
const Version = 1

// Limits of one heartbeat, in bytes. SizeMax is what a NATS server carries by
// default; the others leave room for 4000 apps, and no text that a program
// wrote about itself can crowd out the facts.
const (
	SizeMax  = 1 << 20
	idMax    = 64  // session, agent: a UUID has 36
	labelMax = 256 // digest, version, bucket
	textMax  = 512 // one error or one thing waited for
	waitMax  = 256 // things waited for
)

// Errors of Encode and Decode.
var (
	ErrTooLarge  = errors.New("heartbeat too large")
	ErrMalformed = errors.New("malformed heartbeat")
	ErrForeign   = errors.New("heartbeat of another node than its subject says")
	ErrNewer     = errors.New("heartbeat of a newer version")
)

// beat is machine.Beat as JSON.
type beat struct {
	V       int    `json:"v"`
	Node    string `json:"node"`
	Agent   string `json:"agent"`
	Session string `json:"session,omitempty"`
	N       uint64 `json:"n"`
	Phase   string `json:"phase"`
	Hidden  bool   `json:"hidden,omitempty"`
	Full    bool   `json:"full,omitempty"`

	Digest  string    `json:"digest,omitempty"`
	Spec    uint64    `json:"spec,omitempty"`
	Version string    `json:"version,omitempty"`
	Since   string    `json:"since,omitempty"`
	Apps    []appBeat `json:"apps,omitempty"`
	Bucket  string    `json:"bucket,omitempty"`
	Memory  bool      `json:"memory,omitempty"`
	Vouches bool      `json:"vouches,omitempty"`
	Waiting []string  `json:"waiting,omitempty"`
	Seq     uint64    `json:"seq,omitempty"`
	Heard   []echo    `json:"heard,omitempty"`
}

type echo struct {
	Agent string `json:"agent"`
	N     uint64 `json:"n"`
}

type appBeat struct {
	App     string `json:"app"`
	Started bool   `json:"started,omitempty"`
	Type    string `json:"type,omitempty"`
	Denied  bool   `json:"denied,omitempty"`
	Failed  bool   `json:"failed,omitempty"`
	Error   string `json:"error,omitempty"`
	Running bool   `json:"running,omitempty"`
	Epoch   uint64 `json:"epoch,omitempty"`
	Run     uint64 `json:"run,omitempty"`
	Ending  bool   `json:"ending,omitempty"`
}

// Encode writes b. Texts for people are cut at their limit, and left out when
// the whole would be too large: a long error message must not silence a node.
// It fails with ErrTooLarge when even the facts don't fit, and with
// ErrMalformed for a beat that Decode would refuse.
func Encode(b machine.Beat) ([]byte, error) {
	w := toWire(b)
	if _, err := fromWire(w); err != nil {
		return nil, err
	}
	data, err := marshal(w)
	if errors.Is(err, ErrTooLarge) {
		data, err = marshal(w.withoutTexts())
	}
	return data, err
}

func marshal(w beat) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // people read it, browsers don't
	if err := enc.Encode(w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	data := bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
	if len(data) > SizeMax {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), SizeMax)
	}
	return data, nil
}

func (w beat) withoutTexts() beat {
	w.Waiting = nil
	w.Apps = slices.Clone(w.Apps)
	for i := range w.Apps {
		w.Apps[i].Error = ""
	}
	return w
}

// Decode reads a heartbeat that came on the subject of node from. The error
// wraps one of the four of this package.
func Decode(from node.Name, data []byte) (machine.Beat, error) {
	if len(data) > SizeMax {
		return machine.Beat{}, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(data), SizeMax)
	}
	w, err := unmarshal(data)
	if err != nil {
		return machine.Beat{}, err
	}
	b, err := fromWire(w)
	if err != nil {
		return machine.Beat{}, err
	}
	if b.Node != from {
		return machine.Beat{}, fmt.Errorf("%w: %q on the subject of %q", ErrForeign, b.Node, from)
	}
	return b, nil
}

// unmarshal looks at the version before it complains about anything else: a
// newer version may have changed the type of any field.
func unmarshal(data []byte) (beat, error) {
	var w beat
	err := json.Unmarshal(data, &w)
	var head struct{ V int }
	if err != nil && json.Unmarshal(data, &head) == nil {
		w.V = head.V
	}
	switch {
	case w.V > Version:
		return beat{}, fmt.Errorf("%w: %d, this one reads %d", ErrNewer, w.V, Version)
	case err != nil:
		return beat{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	case w.V < 1:
		return beat{}, fmt.Errorf("%w: no version", ErrMalformed)
	}
	return w, nil
}

func toWire(b machine.Beat) beat {
	w := beat{
		V: Version, Node: string(b.Node), Agent: string(b.Agent), Session: string(b.Session),
		N: b.N, Phase: string(b.Phase), Hidden: b.Hidden, Full: b.Full,
	}
	if !b.Full {
		return w
	}
	w.Digest, w.Spec, w.Version, w.Since = b.Digest, uint64(b.Spec), b.Version, formatTime(b.Since)
	w.Bucket, w.Memory, w.Vouches = string(b.Identity), b.Memory, b.Vouches
	for _, a := range b.Apps {
		w.Apps = append(w.Apps, appBeat{
			App: string(a.App), Started: a.Started, Type: string(a.Type), Denied: a.Denied,
			Failed: a.Failed, Error: clip(a.Error), Running: a.Running, Epoch: uint64(a.Epoch),
			Run: uint64(a.Run), Ending: a.Ending,
		})
	}
	slices.SortFunc(w.Apps, func(x, y appBeat) int { return cmp.Compare(x.App, y.App) })
	for _, text := range b.Waiting[:min(len(b.Waiting), waitMax)] {
		w.Waiting = append(w.Waiting, clip(text))
	}
	w.Seq = uint64(b.Seq)
	for _, e := range b.Heard[:min(len(b.Heard), machine.EchoesMax)] {
		w.Heard = append(w.Heard, echo{string(e.Agent), e.N})
	}
	return w
}

func fromWire(w beat) (machine.Beat, error) {
	name, err := node.Parse(w.Node)
	if err != nil {
		return machine.Beat{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := checkLife(w); err != nil {
		return machine.Beat{}, err
	}
	b := machine.Beat{
		Node: name, Agent: policy.Nonce(w.Agent), Session: policy.Session(w.Session),
		N: w.N, Phase: machine.BeatPhase(w.Phase), Hidden: w.Hidden, Full: w.Full,
	}
	if !w.Full {
		return b, nil
	}
	return b, fillFull(&b, w)
}

// checkLife checks what every beat has.
func checkLife(w beat) error {
	switch machine.BeatPhase(w.Phase) {
	case machine.BeatSyncing, machine.BeatUp, machine.BeatClosing, machine.BeatLeft:
	default:
		return fmt.Errorf("%w: phase %q", ErrMalformed, clip(w.Phase))
	}
	if w.Agent == "" {
		return fmt.Errorf("%w: no agent", ErrMalformed)
	}
	return errors.Join(printable("agent", w.Agent, idMax), printable("session", w.Session, idMax))
}

// fillFull adds what only a full beat has.
func fillFull(b *machine.Beat, w beat) error {
	since, err := parseTime(w.Since)
	if err := errors.Join(err,
		printable("digest", w.Digest, labelMax),
		printable("version", w.Version, labelMax),
		printable("bucket", w.Bucket, labelMax)); err != nil {
		return err
	}
	b.Digest, b.Spec, b.Version, b.Since = w.Digest, policy.Revision(w.Spec), w.Version, since
	b.Identity, b.Memory, b.Vouches = policy.Identity(w.Bucket), w.Memory, w.Vouches
	if b.Apps, err = readApps(w.Apps); err != nil {
		return err
	}
	b.Seq = policy.Revision(w.Seq)
	return errors.Join(readWaiting(b, w.Waiting), readEchoes(b, w.Heard))
}

func readApps(apps []appBeat) ([]machine.AppBeat, error) {
	var read []machine.AppBeat
	for i, a := range apps {
		app, err := readApp(a)
		if err != nil {
			return nil, err
		}
		// Sorted order, which the sender keeps, makes repeats visible.
		if i > 0 && app.App <= read[i-1].App {
			return nil, fmt.Errorf("%w: app %q repeated or out of order", ErrMalformed, app.App)
		}
		read = append(read, app)
	}
	return read, nil
}

func readApp(a appBeat) (machine.AppBeat, error) {
	app, err := policy.ParseApp(a.App)
	if err != nil {
		return machine.AppBeat{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var typ policy.RestartType
	if a.Type != "" {
		if typ, err = policy.ParseRestartType(a.Type); err != nil {
			return machine.AppBeat{}, fmt.Errorf("%w: app %q: %w", ErrMalformed, app, err)
		}
	}
	if len(a.Error) > textMax {
		return machine.AppBeat{}, fmt.Errorf("%w: app %q: error longer than %d bytes", ErrMalformed, app, textMax)
	}
	return machine.AppBeat{
		App: app, Started: a.Started, Type: typ, Denied: a.Denied, Failed: a.Failed,
		Error: a.Error, Running: a.Running, Epoch: policy.Epoch(a.Epoch),
		Run: policy.Epoch(a.Run), Ending: a.Ending,
	}, nil
}

func readWaiting(b *machine.Beat, texts []string) error {
	if len(texts) > waitMax {
		return fmt.Errorf("%w: waits for more than %d things", ErrMalformed, waitMax)
	}
	for _, text := range texts {
		if len(text) > textMax {
			return fmt.Errorf("%w: waiting: longer than %d bytes", ErrMalformed, textMax)
		}
		b.Waiting = append(b.Waiting, text)
	}
	return nil
}

func readEchoes(b *machine.Beat, echoes []echo) error {
	if len(echoes) > machine.EchoesMax {
		return fmt.Errorf("%w: heard more than %d agents", ErrMalformed, machine.EchoesMax)
	}
	for _, e := range echoes {
		if err := printable("agent", e.Agent, idMax); err != nil {
			return err
		}
		b.Heard = append(b.Heard, machine.Echo{Agent: policy.Nonce(e.Agent), N: e.N})
	}
	return nil
}

// printable refuses what could not be an identifier: it ends up in logs,
// terminals and metrics.
func printable(field, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%w: %s longer than %d bytes", ErrMalformed, field, most)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("%w: %s %q is not printable", ErrMalformed, field, s)
	}
	return nil
}

// clip cuts a text for people at its limit, between two characters, and makes
// it valid UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= textMax {
		return s
	}
	cut := textMax - len("…")
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

const timeForm = "2006-01-02T15:04:05.000Z"

// timeEnd is the end of the year 9999, in Unix milliseconds: the form above has
// four digits.
const timeEnd = 253402300800000

// formatTime writes Unix milliseconds. 0 is no time, and so is what a clock
// beyond reason shows: it is for people only and must not silence a node.
func formatTime(ms int64) string {
	if ms <= 0 || ms >= timeEnd {
		return ""
	}
	return time.UnixMilli(ms).UTC().Format(timeForm)
}

func parseTime(s string) (ms int64, err error) {
	if s == "" {
		return 0, nil
	}
	t, err := time.Parse(timeForm, s)
	if err != nil || t.UnixMilli() < 0 {
		return 0, fmt.Errorf("%w: since %q", ErrMalformed, clip(s))
	}
	return t.UnixMilli(), nil
}
