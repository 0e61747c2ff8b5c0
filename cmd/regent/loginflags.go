package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
	"github.com/synadia-io/orbit.go/natscontext"

	"github.com/seed7529eb29/regent/bus/cred"
)

// loginFlags say how to get into a NATS that is there already. User, password
// and token stand in the URL or in a context of the nats CLI.
type loginFlags struct {
	creds, nkey   string
	ca, cert, key string
	domain        string
}

func (f *loginFlags) bind(fs *pflag.FlagSet, unless string) {
	fs.StringVar(&f.creds, "creds", "", "credentials `FILE` "+unless)
	fs.StringVar(&f.nkey, "nkey", "", "`FILE` with the seed of a user's nkey")
	fs.StringVar(&f.ca, "tlsca", "", "`FILE` with the CA of the NATS servers' certificates")
	fs.StringVar(&f.cert, "tlscert", "", "`FILE` with the certificate to show them")
	fs.StringVar(&f.key, "tlskey", "", "`FILE` with its key")
	fs.StringVar(&f.domain, "js-domain", "", "JetStream `DOMAIN` on the NATS servers")
}

func (f *loginFlags) login() cred.Access {
	return cred.Access{Creds: f.creds, NKey: f.nkey, CA: f.ca, Cert: f.cert, Key: f.key}
}

func (f *loginFlags) apiPrefix() string { return domainPrefix(f.domain) }

func domainPrefix(domain string) string {
	if domain == "" {
		return ""
	}
	return "$JS." + domain + ".API"
}

// external is a NATS that is there already, and how to get in.
type external struct {
	url       string
	login     cred.Access
	apiPrefix string // of JetStream; "" for the usual one
	inbox     string // prefix; "" for the usual one
}

// setServer reads what a node is told about an external NATS.
func (f *nodeFlags) setServer(o *NodeOptions) (err error) {
	switch {
	case f.server != "" && f.context != "":
		return errors.New("--server and --context exclude each other")
	case f.context != "":
		if o.External, err = contextTarget(f.context); err != nil {
			return fmt.Errorf("--context %s: %w", f.context, err)
		}
	case f.server != "":
		o.External.url = f.server
	case f.login != (loginFlags{}):
		return errors.New("--creds, --nkey, --tlsca, --tlscert, --tlskey and --js-domain are for an external NATS: say where with --server or --context")
	}
	o.External.add(&f.login)
	return o.External.login.Check()
}

// add lets flags win over what a context says.
func (e *external) add(f *loginFlags) {
	l := f.login()
	if l.Shows() {
		e.login.Creds, e.login.NKey, e.login.User, e.login.Password, e.login.Token = l.Creds, l.NKey, "", "", ""
	}
	if l.CA != "" {
		e.login.CA = l.CA
	}
	if l.Cert != "" || l.Key != "" {
		e.login.Cert, e.login.Key = l.Cert, l.Key
	}
	if p := f.apiPrefix(); p != "" {
		e.apiPrefix = p
	}
}

// contextTarget is what a context of the nats CLI says, for a connection that
// has to live as long as a node.
func contextTarget(name string) (external, error) {
	s, err := loadContext(name)
	if err != nil {
		return external{}, err
	}
	if s.URL == "" {
		return external{}, errors.New("it has no URL")
	}
	for what, used := range map[string]bool{
		"socks_proxy": s.SocksProxy != "", "nsc": s.NSCLookup != "", "user_jwt": s.UserJwt != "", "windows_cert_store": s.WinCertStoreType != "",
	} {
		if used {
			return external{}, fmt.Errorf("%s in a context can't be used by a node: name the URL with --server and the file with --creds", what)
		}
	}
	return external{
		url: s.URL, inbox: s.InboxPrefix, apiPrefix: apiPrefixOf(s),
		login: cred.Access{
			Creds: s.Creds, NKey: s.NKey, User: s.User, Password: s.Password, Token: s.Token,
			CA: s.CA, Cert: s.Cert, Key: s.Key, TLSFirst: s.TLSFirst,
		},
	}, nil
}

func apiPrefixOf(s natscontext.Settings) string {
	if p := domainPrefix(s.JSDomain); p != "" {
		return p
	}
	return s.JSAPIPrefix
}
