package service

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/node"
	"github.com/seed7529eb29/regent/policy/specjson"
)

// Schema is the number that every reply carries.
const Schema = 1

// The verbs that every node has.
const (
	VerbStatus   = "status"
	VerbStart    = "start"
	VerbStop     = "stop"
	VerbTakeover = "takeover"
	VerbPermit   = "permit"
	VerbLoad     = "load"
	VerbConfig   = "config"
	VerbCookie   = "cookie"

	// Of net_kernel: which other nodes the node asked exchanges messages with.
	VerbAllow      = "allow"
	VerbConnect    = "connect"
	VerbDisconnect = "disconnect"
)

// StatusRequest asks for the cluster as the node sees it; the reply is the
// document of package manager/status.
type StatusRequest struct{}

// StartRequest is application:start/2 on the node asked. The reply is empty and
// comes when the app runs somewhere, which may be long after.
type StartRequest struct {
	App  policy.App         `json:"app"`
	Type policy.RestartType `json:"type,omitempty"` // empty: the app's own
}

// StopRequest is application:stop/1 on the node asked, or, with All, on all.
type StopRequest struct {
	App policy.App `json:"app"`
	All bool       `json:"all,omitempty"`
}

// TakeoverRequest is application:takeover/2 to the node asked.
type TakeoverRequest struct {
	App  policy.App         `json:"app"`
	Type policy.RestartType `json:"type,omitempty"`
}

// PermitRequest is application:permit/2 on the node asked. Permitted must be
// there: whoever leaves it out has not said what is wanted. Persist keeps it over
// restarts of the node.
type PermitRequest struct {
	App       policy.App `json:"app"`
	Permitted *bool      `json:"permitted"`
	Persist   bool       `json:"persist,omitempty"`
}

// LoadRequest is application:load/1, or, with nodes, load/2: it makes the app
// distributed on them, in the whole cluster. Without a timeout that is 0.
type LoadRequest struct {
	App       policy.App    `json:"app"`
	TimeoutMS *int64        `json:"timeout_ms,omitempty"`
	Nodes     [][]node.Name `json:"nodes,omitempty"` // in order of priority, equals together
}

// ConfigRequest makes a specification the cluster's: the distributed apps of
// configuration files, and the voters that follow from them.
type ConfigRequest struct {
	Voters []node.Name    `json:"voters"`
	Apps   []specjson.App `json:"apps"`
}

// ConfigReply says which nodes go by it now, and what has changed.
type ConfigReply struct {
	Nodes   []node.Name `json:"nodes"`
	Changed []string    `json:"changed"`
}

// CookieRequest lets the node asked go by other cookies, one step from those of
// now; they are named by their fingerprints, and are never sent. Without a field
// it only tells.
type CookieRequest struct {
	Use  string `json:"use,omitempty"`  // the one that it shows
	Also string `json:"also,omitempty"` // the one that it accepts too
}

// CookieReply says by which cookies the node goes now.
type CookieReply struct {
	Use  string `json:"use"`
	Also string `json:"also"` // "": none
}

// Validate checks the fingerprints in the request.
func (r *CookieRequest) Validate() error {
	if r.Use == "" && r.Also != "" {
		return errors.New(`field "use" is missing`)
	}
	if r.Use != "" && r.Use == r.Also {
		return errors.New(`fields "use" and "also" are the same`)
	}
	for _, fp := range []string{r.Use, r.Also} {
		if fp != "" && (len(fp) != 16 || strings.Trim(fp, "0123456789abcdef") != "") {
			return fmt.Errorf("%q is no fingerprint: expected 16 hexadecimal digits in lower case", fp)
		}
	}
	return nil
}

// NodeRequest is net_kernel:allow/1, connect_node/1 or disconnect_node/1 on the
// node asked.
type NodeRequest struct {
	Node node.Name `json:"node"`
}

// Validate checks the name in the request.
func (r *NodeRequest) Validate() error {
	if r.Node == "" {
		return errors.New(`field "node" is missing`)
	}
	_, err := node.Parse(string(r.Node))
	return err
}

// Validate checks the names in the request.
func (r *StartRequest) Validate() error { return errors.Join(checkApp(r.App), checkType(r.Type)) }

// Validate checks the names in the request.
func (r *StopRequest) Validate() error { return checkApp(r.App) }

// Validate checks the names in the request.
func (r *TakeoverRequest) Validate() error { return errors.Join(checkApp(r.App), checkType(r.Type)) }

// Validate checks the name in the request, and that nothing is missing.
func (r *PermitRequest) Validate() error {
	if r.Permitted == nil {
		return errors.Join(checkApp(r.App), errors.New(`field "permitted" is missing`))
	}
	return checkApp(r.App)
}

// Validate checks the distribution.
func (r *LoadRequest) Validate() error {
	if err := checkApp(r.App); err != nil {
		return err
	}
	if len(r.Nodes) == 0 && r.TimeoutMS == nil {
		return nil
	}
	_, err := r.Spec()
	return err
}

// Spec is the distribution that load/2 asks for.
func (r *LoadRequest) Spec() (policy.Spec, error) {
	return specjson.App{App: r.App, TimeoutMS: cmp.Or(r.TimeoutMS, new(int64)), Nodes: r.Nodes}.Spec()
}

// Validate checks every specification.
func (r *ConfigRequest) Validate() error {
	for _, n := range r.Voters {
		if _, err := node.Parse(string(n)); err != nil {
			return err
		}
	}
	if len(r.Apps) == 0 {
		return errors.New(`field "apps": nothing is distributed`)
	}
	_, err := specjson.Specs(r.Apps)
	return err
}

func checkApp(a policy.App) error {
	if a == "" {
		return errors.New(`field "app" is missing`)
	}
	_, err := policy.ParseApp(string(a))
	return err
}

func checkType(t policy.RestartType) error {
	if t == "" {
		return nil
	}
	_, err := policy.ParseRestartType(string(t))
	return err
}

// Verb is one thing a node can be asked, and the check of its requests.
type Verb struct {
	Name  string
	check func(json.RawMessage) error
}

// NewVerb is a verb whose requests are a T. If *T has a method
// "Validate() error", a request must pass that too.
func NewVerb[T any](name string) Verb {
	return Verb{Name: name, check: func(raw json.RawMessage) error {
		var request T
		return Decode(raw, &request)
	}}
}

// Verbs are those that every node has.
func Verbs() []Verb {
	return []Verb{
		NewVerb[StatusRequest](VerbStatus),
		NewVerb[StartRequest](VerbStart),
		NewVerb[StopRequest](VerbStop),
		NewVerb[TakeoverRequest](VerbTakeover),
		NewVerb[PermitRequest](VerbPermit),
		NewVerb[LoadRequest](VerbLoad),
		NewVerb[ConfigRequest](VerbConfig),
		NewVerb[CookieRequest](VerbCookie),
		NewVerb[NodeRequest](VerbAllow),
		NewVerb[NodeRequest](VerbConnect),
		NewVerb[NodeRequest](VerbDisconnect),
	}
}

// Decode reads a request strictly: one JSON object (or nothing, which is an
// empty one), no field that isn't in request, no value that doesn't fit. The
// error is an *Error with CodeBadRequest that names the field.
func Decode(raw json.RawMessage, request any) error {
	raw = normal(raw)
	if !isObject(raw) {
		return badRequest("the request is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(request); err != nil {
		return badRequest(explain(err))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badRequest("something follows the JSON object")
	}
	if v, ok := request.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return badRequest(strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	return nil
}

// normal makes an object of a request without a body.
func normal(raw []byte) json.RawMessage {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 {
		return json.RawMessage(`{}`)
	}
	return raw
}

func isObject(raw []byte) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) > 0 && raw[0] == '{'
}

// explain puts an error of the decoder into the words of a request.
func explain(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Sprintf("field %q can't be a %s", wrong.Field, wrong.Value)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "the request is cut off"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}
