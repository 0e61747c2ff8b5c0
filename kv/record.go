package kv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
)

// recordVersion is the version this code writes, and the highest it reads.
// Fields may be added within a version, since unknown ones are ignored; a
// change of meaning needs a new version.
const recordVersion = 1

// nodeJSON is the stored form of a SessionRecord. The first fields are what a
// person looks for: lists of values are cut after some thirty characters.
type nodeJSON struct {
	Name    node.Name           `json:"name"`
	Session policy.Session      `json:"session"`
	State   policy.SessionState `json:"state"`
	Since   stamp               `json:"since"`
	V       int                 `json:"v"`
	Seq     uint64              `json:"seq"`
	TTL     duration            `json:"ttl"`
	Agent   policy.Nonce        `json:"agent"`
	PID     int                 `json:"pid"`
	Start   uint64              `json:"start_time"`
	UID     int                 `json:"uid"`
	Groups  string              `json:"groups"`
	Host    hostJSON            `json:"host"`
}

type hostJSON struct {
	MachineID    string `json:"machine_id"`
	BootID       string `json:"boot_id"`
	PIDNamespace uint64 `json:"pid_namespace"`
}

// appJSON is the stored form of an AppRecord. The owner's slot is spread over
// owner, epoch, session, nonce, srev and command.
type appJSON struct {
	Owner   node.Name       `json:"owner"`
	Epoch   policy.Epoch    `json:"epoch"`
	Session policy.Session  `json:"session"`
	Phase   policy.AppPhase `json:"phase"`
	Want    policy.Want     `json:"want"`
	Next    *slotJSON       `json:"next"`
	Since   stamp           `json:"since"`
	App     policy.App      `json:"app"`
	V       int             `json:"v"`

	Nonce   policy.Nonce    `json:"nonce"`
	SRev    policy.Revision `json:"srev"`
	Command bool            `json:"command,omitempty"`
	High    policy.Epoch    `json:"high"`
	Prev    *slotJSON       `json:"prev"`
	First   policy.First    `json:"first"`
	From    node.Name       `json:"from"`
	Pinned  bool            `json:"pinned"`
	Spec    string          `json:"spec,omitempty"`
	Ended   []endedJSON     `json:"ended,omitempty"`

	StartType policy.StartKind `json:"start_type"`
	StartFrom node.Name        `json:"start_from"`
	Error     string           `json:"error"`

	// A payload that is text is stored as text, any other in base64.
	Payload       string `json:"payload,omitempty"`
	PayloadBase64 []byte `json:"payload_base64,omitempty"`
}

type slotJSON struct {
	Node    node.Name       `json:"node"`
	Session policy.Session  `json:"session"`
	SRev    policy.Revision `json:"srev"`
	Nonce   policy.Nonce    `json:"nonce"`
	Epoch   policy.Epoch    `json:"epoch"`
	Command bool            `json:"command,omitempty"`
}

type endedJSON struct {
	Node node.Name `json:"node"`
	At   stamp     `json:"at"`
}

// stamp is a time in Unix milliseconds, stored as RFC 3339 in UTC. It is for
// people only, so that one that can't be read is 0 and damages nothing.
type stamp int64

const stampLayout = "2006-01-02T15:04:05.000Z"

func (s stamp) MarshalJSON() ([]byte, error) {
	return []byte(`"` + time.UnixMilli(int64(s)).UTC().Format(stampLayout) + `"`), nil
}

func (s *stamp) UnmarshalJSON(b []byte) error {
	*s = 0
	var text string
	if json.Unmarshal(b, &text) != nil {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if year := t.UTC().Year(); err == nil && 0 <= year && year <= 9999 { // what can be written again
		*s = stamp(t.UnixMilli())
	}
	return nil
}

// duration is stored as Go writes it, "3s".
type duration time.Duration

func (d duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

func (d *duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	*d = duration(v)
	return err
}

// ErrNoRecord says that a cell holds nothing that could be stored, or a record
// that belongs to another key.
var ErrNoRecord = errors.New("cell has no record of its key")

// encode is the stored form of c's record. It fails with ErrNoRecord.
func encode(c policy.Cell) ([]byte, error) {
	switch {
	case c.Node != nil && c.App == nil && c.Key == policy.NodeKey(c.Node.Node):
		return encodeJSON(nodeToJSON(c.Node))
	case c.App != nil && c.Node == nil && c.Key == policy.AppKey(c.App.App):
		return encodeJSON(appToJSON(c.App))
	case c.Permit != nil && c.Key == policy.PermitKey(c.Permit.App):
		return encodeJSON(permitToJSON(c.Permit))
	case c.Config != nil && c.Key == policy.ConfigKey():
		return encodeJSON(specToJSON(c.Config))
	}
	return nil, fmt.Errorf("%w: %s", ErrNoRecord, c.Key)
}

// encodeJSON leaves <, > and & as they are: people read this.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads the stored value of key. It never fails: what can't be read is
// a damaged cell.
func decode(key policy.Key, rev policy.Revision, value []byte) policy.Cell {
	c := policy.Cell{Key: key, Rev: rev}
	if reason := decodeInto(&c, value); reason != "" {
		return damaged(key, rev, reason)
	}
	return c
}

func damaged(key policy.Key, rev policy.Revision, reason string) policy.Cell {
	return policy.Cell{Key: key, Rev: rev, Damaged: reason}
}

func decodeInto(c *policy.Cell, value []byte) (reason string) {
	if reason := checkVersion(value); reason != "" {
		return reason
	}
	switch c.Key.Kind {
	case policy.KeyNode:
		return decodeNode(c, value)
	case policy.KeyPermit:
		return decodePermit(c, value)
	case policy.KeyConfig:
		return decodeSpec(c, value)
	}
	return decodeApp(c, value)
}

// checkVersion comes first: a newer version may have changed the type of any
// other field.
func checkVersion(value []byte) (reason string) {
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(value, &head); err != nil {
		return "not a record: " + err.Error()
	}
	switch {
	case head.V > recordVersion:
		return fmt.Sprintf("written by a newer version (v %d, this one reads up to %d)", head.V, recordVersion)
	case head.V < 1:
		return "not a record: no version"
	}
	return ""
}

func decodeNode(c *policy.Cell, value []byte) (reason string) {
	var j nodeJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return "not a session record: " + err.Error()
	}
	if policy.NodeKey(j.Name) != c.Key {
		return fmt.Sprintf("session record of %q under the key of %q", j.Name, c.Key.Name)
	}
	if !known(j.State, policy.SessionLive, policy.SessionClosed, policy.SessionExpired, policy.SessionDead) {
		return fmt.Sprintf("unknown session state %q", j.State)
	}
	c.Node = nodeFromJSON(&j)
	return ""
}

func decodeApp(c *policy.Cell, value []byte) (reason string) {
	var j appJSON
	if err := json.Unmarshal(value, &j); err != nil {
		return "not an ownership record: " + err.Error()
	}
	switch {
	case policy.AppKey(j.App) != c.Key:
		return fmt.Sprintf("ownership record of %q under the key of %q", j.App, c.Key.Name)
	case !known(j.Phase, "", policy.PhaseStarting, policy.PhaseRunning):
		return fmt.Sprintf("unknown phase %q", j.Phase)
	case !known(j.Want, policy.WantRun, policy.WantStopped):
		return fmt.Sprintf("unknown want %q", j.Want)
	case !known(j.First, policy.FirstNone, policy.FirstWait, policy.FirstGo):
		return fmt.Sprintf("unknown first %q", j.First)
	}
	if name := badName(&j); name != "" {
		return fmt.Sprintf("%q is no node name", name)
	}
	c.App = appFromJSON(&j)
	return ""
}

// known reports whether v is one of the words of its kind.
func known[T ~string](v T, words ...T) bool {
	return slices.Contains(words, v)
}

// badName finds a right given to something that can't be a node. (The names
// that are for people only are not checked.)
func badName(j *appJSON) node.Name {
	names := []node.Name{j.Owner}
	for _, s := range []*slotJSON{j.Next, j.Prev} {
		if s != nil {
			names = append(names, s.Node)
		}
	}
	for _, n := range names {
		if _, err := node.Parse(string(n)); n != "" && err != nil {
			return n
		}
	}
	return ""
}

func nodeToJSON(r *policy.SessionRecord) nodeJSON {
	return nodeJSON{
		Name: r.Node, Session: r.Session, State: r.State, Since: stamp(r.Since), V: recordVersion,
		Seq: r.Seq, TTL: duration(r.TTL), Agent: r.Agent,
		PID: r.PID, Start: r.StartTime, UID: r.UID, Groups: r.Groups,
		Host: hostJSON(r.Host),
	}
}

func nodeFromJSON(j *nodeJSON) *policy.SessionRecord {
	return &policy.SessionRecord{
		Node: j.Name, Session: j.Session, Agent: j.Agent, State: j.State,
		Host: policy.Host(j.Host), PID: j.PID, StartTime: j.Start, UID: j.UID, Groups: j.Groups,
		TTL: time.Duration(j.TTL), Seq: j.Seq, Since: int64(j.Since),
	}
}

func appToJSON(r *policy.AppRecord) appJSON {
	j := appJSON{
		Owner: r.Owner.Node, Epoch: r.Owner.Epoch, Session: r.Owner.Session,
		Phase: r.Phase, Want: r.Want, Next: slotToJSON(r.Next), Since: stamp(r.Since), App: r.App, V: recordVersion,
		Nonce: r.Owner.Nonce, SRev: r.Owner.SRev, Command: r.Owner.Command,
		High: r.High, Prev: slotToJSON(r.Prev), First: r.First,
		From: r.From, Pinned: r.Pinned, Spec: r.Spec,
		StartType: r.StartKind, StartFrom: r.StartFrom, Error: strings.ToValidUTF8(r.Error, "\ufffd"),
	}
	for _, e := range r.Ended {
		j.Ended = append(j.Ended, endedJSON{e.Node, stamp(e.At)})
	}
	if utf8.Valid(r.Payload) {
		j.Payload = string(r.Payload)
	} else {
		j.PayloadBase64 = r.Payload
	}
	return j
}

func appFromJSON(j *appJSON) *policy.AppRecord {
	r := &policy.AppRecord{
		App: j.App,
		Owner: policy.Slot{
			Node: j.Owner, Session: j.Session, SRev: j.SRev,
			Nonce: j.Nonce, Epoch: j.Epoch, Command: j.Command,
		},
		Phase: j.Phase, High: j.High, Next: slotFromJSON(j.Next), Prev: slotFromJSON(j.Prev),
		Want: j.Want, First: j.First, From: j.From, Pinned: j.Pinned, Spec: j.Spec,
		StartKind: j.StartType, StartFrom: j.StartFrom, Since: int64(j.Since), Error: j.Error,
	}
	for _, e := range j.Ended {
		r.Ended = append(r.Ended, policy.EndedNode{Node: e.Node, At: int64(e.At)})
	}
	switch {
	case j.Payload != "":
		r.Payload = []byte(j.Payload)
	case len(j.PayloadBase64) > 0:
		r.Payload = j.PayloadBase64
	}
	return r
}

// slotToJSON gives null for a slot that holds nothing at all.
func slotToJSON(s policy.Slot) *slotJSON {
	if s == (policy.Slot{}) {
		return nil
	}
	j := slotJSON(s)
	return &j
}

func slotFromJSON(j *slotJSON) policy.Slot {
	if j == nil {
		return policy.Slot{}
	}
	return policy.Slot(*j)
}

// keyOf is the inverse of policy.Key.String. ok is false for every key that
// names no cell.
func keyOf(s string) (key policy.Key, ok bool) {
	kind, token, _ := strings.Cut(s, ".")
	if s == policy.ConfigKey().String() {
		return policy.ConfigKey(), true
	}
	name, err := node.Untoken(token)
	if err != nil {
		return policy.Key{}, false
	}
	switch policy.KeyKind(kind) {
	case policy.KeyApp:
		app, err := policy.ParseApp(name)
		return policy.AppKey(app), err == nil
	case policy.KeyNode:
		n, err := node.Parse(name)
		return policy.NodeKey(n), err == nil
	case policy.KeyPermit:
		app, err := policy.ParseApp(name)
		return policy.PermitKey(app), err == nil
	}
	return policy.Key{}, false
}
