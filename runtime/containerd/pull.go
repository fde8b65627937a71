package containerd

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

// retryPolicy says how often and how soon a pull that failed is tried again.
type retryPolicy struct {
	attempts int
	first    time.Duration // doubles each time
	max      time.Duration
}

func defaultRetry() retryPolicy {
	return retryPolicy{attempts: 6, first: 500 * time.Millisecond, max: 10 * time.Second}
}

// pullShared fetches an image from its registry, once for all who ask with the same credentials meanwhile.
func (d *Driver) pullShared(ctx context.Context, s *session, ref string, o options) (client.Image, error) {
	key := fmt.Sprintf("%s %x", ref, sha256.Sum256([]byte(o.Auth.Username+"\x00"+o.Auth.Password)))
	return d.share(ctx, key, func(ctx context.Context) (client.Image, error) {
		ctx, cancel := context.WithTimeout(ctx, o.PullTimeout)
		defer cancel()
		img, err := d.pull(ctx, s, ref, o.Auth)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("pull image %s: not done after %s: %w", ref, o.PullTimeout, err)
		}
		return img, err
	})
}

// pull tries until it works, the error is one that time does not heal, or the attempts are used up. containerd itself tries a
// request twice and then fails the whole pull.
func (d *Driver) pull(ctx context.Context, s *session, ref string, auth credentials) (client.Image, error) {
	wait := d.retry.first
	for attempt := 1; ; attempt++ {
		seen := &seenContent{}
		img, err := s.Pull(ctx, ref, client.WithPullUnpack, client.WithPullSnapshotter(s.snapshotter),
			client.WithResolver(d.resolver(auth)), client.WithImageHandler(images.HandlerFunc(seen.handle)))
		if err == nil {
			return img, nil
		}
		if cause := permanent(err, auth); cause != "" {
			return nil, fmt.Errorf("pull image %s: %s: %w: %w", ref, cause, runtime.ErrNotRetryable, err)
		}
		if attempt >= d.retry.attempts || ctx.Err() != nil {
			return nil, explainPull(err, ref, attempt)
		}
		d.log.Warn("cannot pull image, trying again", "image", ref, "attempt", attempt, "wait", wait, "error", err)
		seen.abort(ctx, s)
		if err := pause(ctx, wait); err != nil {
			return nil, explainPull(err, ref, attempt)
		}
		wait = min(2*wait, d.retry.max)
	}
}

// explainPull leaves ErrUnavailable to the daemon: a registry that does not answer is not the driver's failure.
func explainPull(err error, ref string, attempts int) error {
	return fmt.Errorf("pull image %s: tried %d times: %w", ref, attempts, err)
}

// permanent names the cause of an error that another attempt would meet again, or "".
func permanent(err error, auth credentials) string {
	var status remoteserrors.ErrUnexpectedStatus
	code := 0
	if errors.As(err, &status) {
		code = status.StatusCode
	}
	text := err.Error()
	refused := code == http.StatusUnauthorized || code == http.StatusForbidden || errors.Is(err, docker.ErrInvalidAuthorization) ||
		strings.Contains(text, "401 Unauthorized") || strings.Contains(text, "403 Forbidden") || strings.Contains(text, "no basic auth credentials")
	switch {
	case refused && auth.Username == "":
		return "the registry wants a login (config.auth), or the image does not exist"
	case refused:
		return "the registry refused the login of config.auth"
	case strings.Contains(text, "no match for platform"):
		return "it is not made for " + platforms.DefaultString()
	case errdefs.IsNotFound(err):
		return "the registry does not have it"
	case errdefs.IsInvalidArgument(err):
		return "the name is not valid"
	}
	return ""
}

func (d *Driver) resolver(auth credentials) remotes.Resolver {
	plain := func(host string) (bool, error) {
		if slices.Contains(d.cfg.PlainHTTP, host) {
			return true, nil
		}
		return docker.MatchLocalhost(host)
	}
	return docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(plain),
		docker.WithClient(registryClient()),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(
			docker.WithAuthClient(registryClient()),
			docker.WithAuthCreds(func(string) (string, string, error) { return auth.Username, auth.Password, nil }))))})
}

// registryClient has time limits for everything but the body, which the pull's own limit covers.
func registryClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          8,
		IdleConnTimeout:       10 * time.Second,
	}}
}

// seenContent collects what a pull touched, so that what it left half done can be thrown away: containerd goes on writing where a
// corrupted download ended, and fails again.
type seenContent struct {
	mu   sync.Mutex
	refs []string
}

func (c *seenContent) handle(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refs = append(c.refs, remotes.MakeRefKey(ctx, desc))
	return nil, nil
}

func (c *seenContent) abort(ctx context.Context, s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ref := range c.refs {
		// Most are complete and have nothing left over, and an error here shows again at the next attempt.
		_ = s.ContentStore().Abort(ctx, ref)
	}
}
