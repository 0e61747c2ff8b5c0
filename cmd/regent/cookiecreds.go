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

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/seed7529eb29/regent/bus"
	"github.com/seed7529eb29/regent/bus/cred"
	"github.com/seed7529eb29/regent/cmd/regent/nodefile"
)

// credsFlags are the flags of "cookie creds".
type credsFlags struct {
	dir, context    string
	stanza          bool
	system          bool
	server, ca      string
	domain, cluster string
	source          CookieSource
}

func newCookieCreds() *cobra.Command {
	var f credsFlags
	cmd := &cobra.Command{
		Use:   "creds (--dir DIR | --context NAME | --stanza)",
		Short: "Write what the nats CLI and other NATS clients need to look in",
		Long: `Writes credentials made from the cookie, so that any NATS client can connect to
the cluster: the files url, creds, ca, cert and key, mode 0600, into a directory,
or a context of the nats CLI that names them.

The server is that of --server or NATS_URL, else those of the nodes on this
machine. One that can't be reached is taken as it is, with a warning; one that
refuses the cookie is an error.

The files are as secret as the cookie itself. With --system they are for the
system account: servers, connections, the meta leader.

Where NATS is not the nodes' own, the cookie is a key, of which the servers have
to know the public half: --stanza prints what belongs into their configuration,
with the least permissions that a node needs. It is no secret. With --system it
has a system account too. The credentials are then the files url and nkey.`,
		Example: `  regent cookie creds --context regent && nats --context regent kv ls regent_default
  regent cookie creds --context regent-sys --system && nats --context regent-sys server ls
  regent cookie creds --dir ./creds --server tls://node1.example:4222
  regent cookie creds --stanza --cluster prod >> /etc/nats/nats.conf`,
		Args: arguments(false),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.stanza {
				return f.printStanza(cmd.OutOrStdout())
			}
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
	fs.BoolVar(&f.stanza, "stanza", false, "print what an external server's configuration needs")
	cmd.MarkFlagsOneRequired("dir", "context", "stanza")
	cmd.MarkFlagsMutuallyExclusive("dir", "context", "stanza")
	fs.BoolVar(&f.system, "system", false, "for the system account")
	fs.StringVar(&f.server, "server", "", "NATS `URL` (default $NATS_URL, else the nodes on this machine)")
	fs.StringVar(&f.ca, "tlsca", "", "`FILE` with the CA of an external server's certificate")
	fs.StringVar(&f.domain, "js-domain", "", "with --stanza: JetStream `DOMAIN` of the bucket")
	fs.StringVar(&f.cluster, "cluster", defaultCluster, "`NAME` of the cluster")
	cookieFileFlag(cmd, &f.source.File)
}

func (f *credsFlags) printStanza(w io.Writer) error {
	if _, err := bus.ParseCluster(f.cluster); err != nil {
		return usage("--cluster", "%w", err)
	}
	a, err := f.cookie()
	if err != nil {
		return failed("cookie creds", err)
	}
	_, err = io.WriteString(w, a.Stanza(domainPrefix(f.domain), f.system))
	return failed("cookie creds", err)
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
	authority, withKey, err := f.authority(ctx, urls, warn)
	if err != nil {
		return "", err
	}
	write, url := authority.WriteCreds, strings.Join(urls, ",")
	if withKey {
		write = authority.WriteNKey
	}
	if f.context == "" {
		return f.dir, write(f.dir, f.user(), url)
	}
	if err := write(file.secrets, f.user(), url); err != nil {
		return "", err
	}
	return file.path, file.write(f.describe(), url, withKey, f.ca)
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

func (f *credsFlags) cookie() (*cred.Authority, error) {
	f.source.Insecure = true // the nodes decide what is too weak
	cookie, err := f.source.LoadExisting()
	if err != nil {
		return nil, err
	}
	a, err := f.source.Authority(cookie, f.cluster)
	return a, cookieError(err)
}

// authority is the cookie's, for the accounts that the server names: a cluster
// keeps those of its first cookie. withKey says that the server is none of the
// nodes', and takes the key that follows from the cookie.
func (f *credsFlags) authority(ctx context.Context, urls []string, warn io.Writer) (a *cred.Authority, withKey bool, err error) {
	if a, err = f.cookie(); err != nil {
		return nil, false, err
	}
	login, err := a.ConnOptions(f.user(), clientName)
	if err != nil {
		return nil, false, err
	}
	if f.ca != "" {
		return a, true, f.tryKey(ctx, urls, a, warn)
	}
	dial, cancel := context.WithTimeout(ctx, checkMax)
	defer cancel()
	c, err := bus.Dial(dial, bus.Options{URLs: urls, Name: clientName, Login: login})
	switch {
	case errors.Is(err, nats.ErrSecureConnWanted):
		return a, true, f.tryKey(ctx, urls, a, warn)
	case errors.Is(err, bus.ErrUnreachable):
		untried(warn, urls)
		return a, false, nil
	case err != nil:
		return nil, false, dialError(err)
	}
	defer c.Close()
	return identified(a, c), false, nil
}

func untried(warn io.Writer, urls []string) {
	fmt.Fprintf(warn, "regent: warning: no server answers at %s: the credentials are not tried\n", strings.Join(urls, ", "))
}

// tryKey shows a server that is none of the nodes' the key that follows from
// the cookie.
func (f *credsFlags) tryKey(ctx context.Context, urls []string, a *cred.Authority, warn io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, checkMax)
	defer cancel()
	opts, err := cred.Access{CA: f.ca}.Options()
	if err != nil {
		return err
	}
	c, err := bus.Dial(ctx, bus.Options{URLs: urls, Name: clientName, Login: append(opts, a.NKeyOption(f.user()))})
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, bus.ErrUnreachable):
		untried(warn, urls)
	default:
		return &ExitError{
			Code: exitRefused, What: "connect", Err: err,
			Hint: "tell the server the cookie's key: regent cookie creds --stanza" + map[bool]string{true: " --system"}[f.system],
		}
	}
	return nil
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
