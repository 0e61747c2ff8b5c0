package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/cmd/regent/nodefile"
)

// credsFlags are the flags of "cookie creds".
type credsFlags struct {
	dir, context string
	system       bool
	server       string
	cluster      string
	source       CookieSource
}

func newCookieCreds() *cobra.Command {
	var f credsFlags
	cmd := &cobra.Command{
		Use:   "creds (--dir DIR | --context NAME)",
		Short: "Write what the nats CLI and other NATS clients need to look in",
		Long: `Writes credentials made from the cookie, so that any NATS client can connect to
the cluster: the files url, creds, ca, cert and key, mode 0600, into a directory,
or a context of the nats CLI that names them.

The server is that of --server or NATS_URL, else those of the nodes on this
machine. One that can't be reached is taken as it is, with a warning; one that
refuses the cookie is an error.

The files are as secret as the cookie itself. With --system they are for the
system account: servers, connections, the meta leader.`,
		Example: `  regent cookie creds --context regent && nats --context regent kv ls regent_default
  regent cookie creds --context regent-sys --system && nats --context regent-sys server ls
  regent cookie creds --dir ./creds --server tls://node1.example:4222`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := f.write(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return failed("cookie creds", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "wrote", path)
			return failed("cookie creds", err)
		},
	}
	f.bind(cmd)
	return cmd
}

func (f *credsFlags) bind(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.dir, "dir", "", "write the files into `DIR`")
	fs.StringVar(&f.context, "context", "", "write a nats CLI context `NAME`, below $XDG_CONFIG_HOME/nats")
	cmd.MarkFlagsOneRequired("dir", "context")
	cmd.MarkFlagsMutuallyExclusive("dir", "context")
	fs.BoolVar(&f.system, "system", false, "for the system account")
	fs.StringVar(&f.server, "server", "", "NATS `URL` (default $NATS_URL, else the nodes on this machine)")
	fs.StringVar(&f.cluster, "cluster", defaultCluster, "`NAME` of the cluster")
	cookieFileFlag(cmd, &f.source.File)
}

// write returns what it has written.
func (f *credsFlags) write(ctx context.Context, warn io.Writer) (string, error) {
	if _, err := bus.ParseCluster(f.cluster); err != nil {
		return "", usage("--cluster", "%w", err)
	}
	if f.dir == "" && f.context == "" {
		return "", usage("cookie creds", "empty name")
	}
	var file natsContext
	if f.context != "" {
		var err error
		if file, err = newNATSContext(f.context); err != nil {
			return "", err
		}
	}
	urls, err := f.urls()
	if err != nil {
		return "", err
	}
	authority, err := f.authority(ctx, urls, warn)
	if err != nil {
		return "", err
	}
	url := strings.Join(urls, ",")
	if f.context == "" {
		return f.dir, authority.WriteCreds(f.dir, f.user(), url)
	}
	if err := authority.WriteCreds(file.secrets, f.user(), url); err != nil {
		return "", err
	}
	return file.path, file.write(f.describe(), url)
}

func (f *credsFlags) user() cred.User {
	if f.system {
		return cred.System
	}
	return cred.App
}

func (f *credsFlags) describe() string {
	if f.system {
		return madeBy + f.cluster + ", system account"
	}
	return madeBy + f.cluster
}

func (f *credsFlags) urls() ([]string, error) {
	server := f.server
	if server == "" {
		server = os.Getenv("NATS_URL")
	}
	if urls := splitURLs(server); len(urls) > 0 {
		return urls, nil
	}
	files, err := nodefile.List()
	var urls []string
	for _, n := range files {
		if n.Cluster == f.cluster {
			urls = append(urls, splitURLs(n.URL)...)
		}
	}
	if len(urls) == 0 {
		return nil, nobodyHere(f.cluster, files, err)
	}
	return urls, nil
}

// checkMax is how long a server may take to answer.
const checkMax = 3 * time.Second

// authority is the cookie's, for the accounts that the server names: a cluster
// keeps those of its first cookie.
func (f *credsFlags) authority(ctx context.Context, urls []string, warn io.Writer) (*cred.Authority, error) {
	f.source.Insecure = true // the nodes decide what is too weak
	cookie, err := f.source.LoadExisting()
	if err != nil {
		return nil, err
	}
	a, err := f.source.Authority(cookie, f.cluster)
	if err != nil {
		return nil, cookieError(err)
	}
	login, err := a.ConnOptions(f.user(), "regent client")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, checkMax)
	defer cancel()
	c, err := bus.Dial(ctx, bus.Options{URLs: urls, Name: "regent client", Login: login})
	switch {
	case errors.Is(err, bus.ErrUnreachable):
		fmt.Fprintf(warn, "regent: warning: no server answers at %s: the credentials are not tried\n", strings.Join(urls, ", "))
		return a, nil
	case err != nil:
		return nil, dialError(err)
	}
	defer c.Close()
	return identified(a, c), nil
}

// identified is a for the accounts that the server's certificate names.
func identified(a *cred.Authority, c *bus.Conn) *cred.Authority {
	state, err := c.NATS().TLSConnectionState()
	if err != nil || len(state.PeerCertificates) == 0 {
		return a
	}
	if id, ok := cred.IdentityOf(state.PeerCertificates[0]); ok {
		return a.WithIdentity(id)
	}
	return a
}

// madeBy begins the description of our contexts: others are never replaced.
const madeBy = "regent cluster "

func contextTaken(path string) error {
	return &ExitError{
		Code: exitFailed, What: "cookie creds", Err: fmt.Errorf("%s exists and is not of this command", path),
		Hint: "choose another name, or remove it first with: nats context rm NAME",
	}
}

// mayReplace refuses to overwrite a context that somebody else has made.
func mayReplace(path string) error {
	old, err := readContext(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || !strings.HasPrefix(old.Description, madeBy):
		return contextTaken(path)
	}
	return nil
}
