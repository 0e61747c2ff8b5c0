package bus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/seed7529eb29/regent/policy/node"
)

// Cluster is the name of a cluster, [A-Za-z0-9_-]+ of at most 32 bytes. It is
// the second token of every subject, so that clusters sharing an account never
// meet.
type Cluster string

// ErrCluster is wrapped by every error of ParseCluster.
var ErrCluster = errors.New("invalid cluster name")

const clusterMax = 32 // bytes: bucket, stream and metric names begin with it

// ParseCluster checks s against the grammar of Cluster.
func ParseCluster(s string) (Cluster, error) {
	switch {
	case s == "":
		return "", fmt.Errorf("%w: empty", ErrCluster)
	case len(s) > clusterMax:
		return "", fmt.Errorf("%w %q: longer than %d bytes", ErrCluster, s[:clusterMax]+"…", clusterMax)
	case node.Token(s) != s:
		return "", fmt.Errorf("%w %q: only letters, digits, _ and - are allowed", ErrCluster, s)
	}
	return Cluster(s), nil
}

// root is the first token of every subject.
const root = "regent"

// Kind says what a subject is for: its third token.
type Kind string

// The kinds of subjects. There are no others.
const (
	KindBeat   Kind = "hb"    // regent.CLUSTER.hb.NODE
	KindAPI    Kind = "api"   // regent.CLUSTER.api.NODE.VERB
	KindNode   Kind = "node"  // regent.CLUSTER.node.NODE.PART…
	KindRecord Kind = "kv"    // regent.CLUSTER.kv.PART…
	KindEvent  Kind = "event" // regent.CLUSTER.event.TYPE.NAME
	KindCert   Kind = "cert"  // regent.CLUSTER.cert.NODE
	KindApp    Kind = "app"   // regent.CLUSTER.app.APP.PART…
)

// ofNode reports whether a node's name follows the kind.
func (k Kind) ofNode() bool {
	return k == KindBeat || k == KindAPI || k == KindNode || k == KindCert
}

// parts bounds how many parts come after the kind (and the node).
func (k Kind) parts() (least, most int) {
	switch k {
	case KindBeat, KindCert:
		return 0, 0
	case KindAPI:
		return 1, 1
	case KindEvent:
		return 2, 2
	case KindApp:
		return 2, partsMax
	case KindNode, KindRecord:
		return 1, partsMax
	}
	return 0, -1
}

// partsMax bounds a subject: nothing of ours is deeper.
const partsMax = 8

// Subject is what a subject says. Parts are plain text: in the subject each is
// one token, escaped by node.Token.
type Subject struct {
	Kind  Kind
	Node  node.Name // with KindBeat, KindAPI, KindNode and KindCert
	Parts []string  // the verb; the path below a node; the key's parts; the event's type and name; the app and the path below it
}

// Subject builds the text of s. It is the inverse of Parse for every s that
// Parse can return.
func (c Cluster) Subject(s Subject) string {
	tokens := []string{root, string(c), string(s.Kind)}
	if s.Kind.ofNode() {
		tokens = append(tokens, node.Token(string(s.Node)))
	}
	for _, p := range s.Parts {
		tokens = append(tokens, node.Token(p))
	}
	return strings.Join(tokens, ".")
}

// Beat is the subject of n's heartbeats.
func (c Cluster) Beat(n node.Name) string { return c.Subject(Subject{Kind: KindBeat, Node: n}) }

// Beats matches the heartbeats of all nodes.
func (c Cluster) Beats() string { return c.all(KindBeat) + ".*" }

// Cert is the subject on which a warden says that n's agent is gone.
func (c Cluster) Cert(n node.Name) string { return c.Subject(Subject{Kind: KindCert, Node: n}) }

// Certs matches the certificates about all nodes.
func (c Cluster) Certs() string { return c.all(KindCert) + ".*" }

// API is the subject of one verb of n's service.
func (c Cluster) API(n node.Name, verb string) string {
	return c.Subject(Subject{Kind: KindAPI, Node: n, Parts: []string{verb}})
}

// Node is a subject of messages for n.
func (c Cluster) Node(n node.Name, parts ...string) string {
	return c.Subject(Subject{Kind: KindNode, Node: n, Parts: parts})
}

// pingPart is the path below a node where it answers as long as it is
// connected.
const pingPart = "ping"

// Ping is the subject on which n answers as long as it is connected.
func (c Cluster) Ping(n node.Name) string { return c.Node(n, pingPart) }

// messagePart is the path below a node where frames between processes arrive.
const messagePart = "msg"

// Messages is the subject of the frames of processes for n.
func (c Cluster) Messages(n node.Name) string { return c.Node(n, messagePart) }

// Record is the subject on which the record of a key is republished. The parts
// are those of the key: kind and name ("app", "myapp"), or one word ("config").
func (c Cluster) Record(parts ...string) string {
	return c.Subject(Subject{Kind: KindRecord, Parts: parts})
}

// Records matches all republished records.
func (c Cluster) Records() string { return c.all(KindRecord) + ".>" }

// Event is the subject of a line of history about an app or a node.
func (c Cluster) Event(typ, name string) string {
	return c.Subject(Subject{Kind: KindEvent, Parts: []string{typ, name}})
}

// Events matches the whole history.
func (c Cluster) Events() string { return c.all(KindEvent) + ".>" }

func (c Cluster) all(k Kind) string { return root + "." + string(c) + "." + string(k) }

// ErrSubject is wrapped by every error of Parse.
var ErrSubject = errors.New("not a subject of this cluster")

// Parse reads a subject of this cluster. Wildcards and anything that Subject
// could not have built are refused.
func (c Cluster) Parse(subject string) (Subject, error) {
	tokens := strings.Split(subject, ".")
	if len(tokens) < 4 || tokens[0] != root || tokens[1] != string(c) {
		return Subject{}, fmt.Errorf("%w: %q", ErrSubject, subject)
	}
	s := Subject{Kind: Kind(tokens[2])}
	tokens = tokens[3:]
	if s.Kind.ofNode() {
		n, err := parseNode(tokens[0])
		if err != nil {
			return Subject{}, fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
		}
		s.Node, tokens = n, tokens[1:]
	}
	if least, most := s.Kind.parts(); len(tokens) < least || len(tokens) > most {
		return Subject{}, fmt.Errorf("%w: %q: not the form of any of them", ErrSubject, subject)
	}
	parts, err := parseParts(tokens)
	if err != nil {
		return Subject{}, fmt.Errorf("%w: %q: %w", ErrSubject, subject, err)
	}
	s.Parts = parts
	return s, nil
}

func parseNode(token string) (node.Name, error) {
	text, err := node.Untoken(token)
	if err != nil {
		return "", err
	}
	return node.Parse(text)
}

// errEmptyToken: two dots in a row, or one at the end.
var errEmptyToken = errors.New("empty token")

func parseParts(tokens []string) ([]string, error) {
	var parts []string
	for _, t := range tokens {
		text, err := node.Untoken(t)
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, errEmptyToken
		}
		parts = append(parts, text)
	}
	return parts, nil
}
