package manager

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/manager/proc"
	"github.com/seed7529eb29/regent/policy"
	"github.com/seed7529eb29/regent/policy/config"
	"github.com/seed7529eb29/regent/policy/node"
)

// LoadConfig reads configuration files, Erlang terms or YAML; of what several
// say the last wins. The error lists everything that is wrong, a line each with
// file, line and column.
func LoadConfig(files ...string) (*Config, error) { return config.Load(os.ReadFile, files...) }

// LoadCookie reads a cookie file, and makes it if it is missing.
func LoadCookie(path string) (Cookie, error) { return cred.LoadCookie(path, false) }

// Options are what a node is made of. Name, Config and Cookie are needed; the
// zero value of the rest is the default.
type Options struct {
	Name    string // name@host
	Cluster string // default: "default"
	Config  *Config
	Cookie  Cookie
	Also    Cookie // nodes and clients of this cookie are accepted too, while one is replaced by the other
	// Cookies are those that are at hand, asked when the cluster takes another one
	// while it runs (Node.TurnCookie): what is in the cookie files then. nil:
	// Cookie and Also.
	Cookies func() ([]Cookie, error)
	Hidden  bool // never a candidate, never in a barrier (erl -hidden)

	// Apps are the apps of this program, made anew for each start. An app of
	// the configuration that is not here needs a command.
	Apps map[string]func() Application

	// Functions are what processes of all nodes may spawn and apply on this one,
	// by name; see package proc. They are there before the node is heard.
	Functions map[string]proc.Func

	// Server is the URL of an external NATS, or several with commas between
	// them: no server runs inside then. A URL may carry user:password or a token
	// before the @; Creds is a credentials file. Empty: servers run inside the
	// voters of the configuration.
	Server string
	Creds  string

	// Access is what else an external NATS asks for: keys, user and password, TLS
	// files. If neither it nor Creds nor the URL says who we are, the key that
	// follows from the cookie is shown, of which the server may know the public
	// half.
	Access Access

	// JetStream is the prefix of JetStream's API on an external NATS, where it
	// is not the usual one: that of the domain D is "$JS.D.API". InboxPrefix is
	// where replies go, where it is not _INBOX.
	JetStream   string
	InboxPrefix string

	DataDir       string // default: $XDG_STATE_HOME/regent/NAME
	Listen        string // what the client port binds; default: its address in the port map
	ClusterListen string // likewise the route port
	NewCluster    bool   // no other node of this cluster runs: skips the wait for an unknown bucket

	// HTTP is the address, HOST:PORT, at which the node shows /metrics, /healthz
	// and /readyz. Empty: nowhere.
	HTTP string

	// Start are the apps that are started as soon as the node is up.
	Start []StartRequest

	// Warden says whether the node has a second process that ends what a killed
	// or stopped node leaves behind. Default: WardenAuto. Linux only; it needs
	// Main.
	Warden WardenMode

	// Shared says that this process runs more than this node, as tests do. The
	// kernel then does not end the process should the node stand still past its
	// deadline while its apps run, and there is no warden.
	Shared bool

	Version string
	Logger  *slog.Logger
	// Output is called with every line that an app's process prints. It must
	// not block. nil: the log.
	Output func(Line)
	// Abort ends the program when a Go app does not return although its right
	// to run has ended. nil: os.Exit(1).
	Abort func(reason string)
}

// StartRequest is an app to start, as by StartApp.
type StartRequest struct {
	App  policy.App
	Type RestartType // empty: the app's own
}

// Line is a line of an app's output.
type Line struct {
	App    policy.App
	Stderr bool
	Text   string
}

// ErrOptions is wrapped by errors about Options, ErrConfig by those about what
// the configuration says of this node. Both are the caller's mistakes.
var (
	ErrOptions = errors.New("invalid node options")
	ErrConfig  = errors.New("invalid configuration")
)

func (o *Options) name() (node.Name, error) {
	n, err := node.Parse(o.Name)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return n, nil
}

// dataDir is where a node keeps its state.
func (o *Options) dataDir() (string, error) {
	if o.DataDir != "" {
		return o.DataDir, nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w: no data directory: %w", ErrOptions, err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "regent", o.Name), nil
}
