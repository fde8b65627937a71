package containerd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"

	"github.com/drover-io/drover/runtime"
)

// retryPolicy says how often and how soon a pull that failed is tried again.
type retryPolicy struct {
	attempts int
	first    time.Duration // doubles each time
	max      time.Duration
	longest  time.Duration // that a registry may ask us to wait (Retry-After)
}

// parallelLayers is how many layers of an image are fetched at once, as Docker does.
const parallelLayers = 3

func defaultRetry() retryPolicy {
	return retryPolicy{attempts: 8, first: 500 * time.Millisecond, max: 10 * time.Second, longest: time.Minute}
}

// pullLeases begins the names of this node's leases of downloads.
func (d *Driver) pullLeases() string { return "drover-pull-" + d.cfg.NodeID + "-" }

// pullShared fetches an image from its registry, once for all who ask with the same credentials meanwhile.
func (d *Driver) pullShared(ctx context.Context, s *session, named reference.Named, o options) (client.Image, error) {
	ref := named.String()
	key := fmt.Sprintf("%s %x", ref, sha256.Sum256([]byte(o.Auth.Username+"\x00"+o.Auth.Password)))
	return d.share(ctx, key, func(ctx context.Context) (client.Image, error) {
		limit := cmp.Or(o.PullTimeout, d.cfg.Pulls.timeout())
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		p := newPullState(ref, reference.Domain(named), o, d.cfg.Pulls.stallTimeout())
		p.lease = d.pullLeases() + fmt.Sprintf("%x", sha256.Sum256([]byte(p.ref)))
		defer d.pulls.begin(&p.transfer, p.ref)()
		img, err := d.pull(ctx, s, p)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("pull image %s: not done after %s (config.image_pull_timeout): %w", ref, limit, err)
		}
		return img, err
	})
}

// pull fetches an image under a lease of its own: what has come stays between attempts, and for the next start of the task when this
// one gives up. Without it containerd's garbage collector may take it in between.
func (d *Driver) pull(ctx context.Context, s *session, p *pullState) (client.Image, error) {
	_, err := s.LeasesService().Create(ctx, leases.WithID(p.lease), leases.WithExpiration(leaseFor))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return nil, explain(err, "pull image %s", p.ref)
	}
	img, err := d.attempts(leases.WithLease(ctx, p.lease), s, p)
	if err == nil || errors.Is(err, runtime.ErrNotRetryable) {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		if failed := s.LeasesService().Delete(clean, leases.Lease{ID: p.lease}); failed != nil && !errdefs.IsNotFound(failed) {
			d.log.Warn("cannot end the lease of a download, containerd does in a day", "lease", p.lease, "error", failed)
		}
	}
	return img, err
}

// attempts tries until it works, the error is one that time does not heal, or the attempts are used up. containerd itself tries a
// request twice and then fails the whole pull.
func (d *Driver) attempts(ctx context.Context, s *session, p *pullState) (client.Image, error) {
	wait, before := d.retry.first, int64(0)
	for attempt := 1; ; attempt++ {
		img, err := s.Pull(ctx, p.ref, client.WithPullUnpack, client.WithPullSnapshotter(s.snapshotter), client.WithMaxConcurrentDownloads(parallelLayers),
			client.WithResolver(d.resolver(ctx, p)), client.WithImageHandler(images.HandlerFunc(p.handle)))
		if err == nil {
			return img, nil
		}
		// What is half done goes on where it ended, unless that is what is wrong: containerd appends to a corrupted download, and some
		// registries cannot go on in the middle.
		done, _ := p.progress(ctx, s)
		if damaged(err) || done <= before {
			p.abort(context.WithoutCancel(ctx), s)
		}
		p.failed(damaged(err) || done <= before)
		before = done
		if cause := permanent(err, p.auth); cause != "" {
			return nil, fmt.Errorf("pull image %s: %s: %w: %w", p.ref, cause, runtime.ErrNotRetryable, err)
		}
		if attempt >= d.retry.attempts || ctx.Err() != nil {
			return nil, explainPull(err, p.ref, attempt)
		}
		rest := max(wait, min(p.takeRetryAfter(), d.retry.longest))
		d.log.Warn("cannot pull image, trying again", "image", p.ref, "attempt", attempt, "wait", rest, "error", err)
		if err := pause(ctx, rest); err != nil {
			return nil, explainPull(err, p.ref, attempt)
		}
		wait = min(2*wait, d.retry.max)
	}
}

// damaged reports whether the bytes that arrived were not those of the digest.
func damaged(err error) bool {
	return errdefs.IsFailedPrecondition(err) || strings.Contains(err.Error(), "unexpected commit digest")
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
	var login *loginError
	switch {
	case errors.As(err, &login):
		return login.Error()
	case refused && auth.Username == "":
		return "the registry wants a login (config.auth, or the node's), or the image does not exist"
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
