package containerd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
)

// PullConfig says where images come from. The zero value asks each image's own registry, without a login.
type PullConfig struct {
	Timeout      time.Duration       // of a whole download, when the job does not say; 0 means 5 minutes
	StallTimeout time.Duration       // without a byte, after which a download is tried again; 0 means 2 minutes
	PlainHTTP    []string            // registry hosts ("10.0.0.1:5000") that are spoken to without TLS, besides loopback
	Registries   map[string]Registry // by host: "docker.io", "10.0.0.1:5000"
	DockerConfig string              // file of credentials as docker login writes it; "" means none
	Helper       string              // program docker-credential-<Helper> that is asked for registries that nothing else knows
}

// Registry is what a node knows of one registry.
type Registry struct {
	Mirrors    []string // asked before it, in this order: a host, or a URL with http:// or a path
	PlainHTTP  bool
	Username   string
	Password   string
	CAFile     string // certificates that sign the registry's, beside the system's
	SkipVerify bool   // any certificate will do
}

const dockerHub = "docker.io"

// CanonicalRegistry is the name that images have for a registry, however its address was written: index.docker.io/v1/ is docker.io.
func CanonicalRegistry(address string) string {
	host := address
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host = rest
	}
	host, _, _ = strings.Cut(strings.ToLower(host), "/")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "hub.docker.com", "registry.hub.docker.com", "www.docker.io", "dockerhub.io":
		return dockerHub
	}
	return host
}

func sameRegistry(a, b string) bool { return CanonicalRegistry(a) == CanonicalRegistry(b) }

// registry is what the node knows of a registry.
func (c PullConfig) registry(host string) Registry {
	r, ok := c.Registries[host]
	if !ok {
		r = c.Registries[CanonicalRegistry(host)]
	}
	if slices.Contains(c.PlainHTTP, host) {
		r.PlainHTTP = true
	}
	return r
}

func (c PullConfig) timeout() time.Duration { return cmp.Or(c.Timeout, defaultPullTimeout) }

func (c PullConfig) stallTimeout() time.Duration { return cmp.Or(c.StallTimeout, 2*time.Minute) }

// resolver asks the registry's mirrors first, then the registry.
func (d *Driver) resolver(ctx context.Context, p *pullState) remotes.Resolver {
	return docker.NewResolver(docker.ResolverOptions{Hosts: func(host string) ([]docker.RegistryHost, error) {
		var hosts, last []docker.RegistryHost
		for _, m := range d.cfg.Pulls.registry(host).Mirrors {
			h, err := d.mirror(ctx, p, m)
			switch {
			case err != nil:
				return nil, fmt.Errorf("mirror %q of registry %s: %w", m, host, err)
			case p.isShaky(h.Host):
				last = append(last, h)
			default:
				hosts = append(hosts, h)
			}
		}
		own, err := d.registryHost(ctx, p, host, false)
		return append(append(hosts, own), last...), err
	}})
}

// registryHost is how to speak to a registry, or to a mirror of one.
func (d *Driver) registryHost(ctx context.Context, p *pullState, host string, mirror bool) (docker.RegistryHost, error) {
	r := d.cfg.Pulls.registry(host)
	watch := &watchedTransport{pull: p}
	if mirror {
		watch.mirror = host
	}
	client, err := watch.client(r)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	local, err := docker.MatchLocalhost(host)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	h := docker.RegistryHost{Client: client, Host: host, Scheme: "https", Path: "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve}
	if r.PlainHTTP || local && r.CAFile == "" && !r.SkipVerify {
		h.Scheme = "http"
	}
	if host == dockerHub {
		h.Host = "registry-1.docker.io"
	}
	h.Authorizer = docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(func(asks string) (string, string, error) {
		if asks != h.Host { // where a redirect led to
			return "", "", nil
		}
		return d.login(ctx, p, host)
	}))
	return h, nil
}

// mirror is how to speak to a mirror: a host as a registry's, or a URL that says more.
func (d *Driver) mirror(ctx context.Context, p *pullState, address string) (docker.RegistryHost, error) {
	host, err := ParseMirror(address)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	h, err := d.registryHost(ctx, p, host.Host, true)
	if host.Scheme != "" {
		h.Scheme = host.Scheme
	}
	h.Path = strings.TrimSuffix(host.Path, "/") + "/v2"
	return h, err
}

// ParseMirror reads the address of a mirror; the scheme is "" where none was given.
func ParseMirror(address string) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "//" + address
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, err
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !slices.Contains([]string{"", "http", "https"}, u.Scheme):
		return nil, fmt.Errorf("want a host such as mirror.example.com:5000, or a URL")
	}
	return u, nil
}

// client makes a client with time limits for everything but the body, which is watched.
func (w *watchedTransport) client(r Registry) (*http.Client, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          8,
		IdleConnTimeout:       10 * time.Second,
	}
	if r.CAFile != "" || r.SkipVerify {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: r.SkipVerify}
	}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificates: %s holds none", r.CAFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	w.next = t
	return &http.Client{Transport: w}, nil
}
