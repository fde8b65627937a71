package containerd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/google/uuid"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/drover-io/drover/runtime"
)

// fileImages begins the names of images that came from files; the rest is the file's hash, so that a file which was replaced is
// another image and one that was copied is the same.
const fileImages = "drover.local/file:sha256-"

// fileRefs begins the names of what such an import writes: two at a time must not write into each other.
const fileRefs = "drover-file-"

// EnsureImage makes the image of a task present and unpacked, and returns its name in containerd. Callers that want the same image
// at the same time share the work.
func (d *Driver) EnsureImage(ctx context.Context, spec runtime.TaskSpec) (string, error) {
	o, err := d.options(spec)
	if err != nil {
		return "", err
	}
	s, ctx, err := d.session(ctx)
	if err != nil {
		return "", err
	}
	img, err := d.image(ctx, s, o, true)
	if err != nil {
		return "", err
	}
	d.markUsed(ctx, s, img.Metadata())
	return img.Name(), nil
}

// image finds the image on the machine, or fetches it: from the cluster's machines when it was imported into the cluster, from its
// registry otherwise. A floating tag ("latest", or none) and force_pull ask the registry again when refresh is set.
func (d *Driver) image(ctx context.Context, s *session, o options, refresh bool) (client.Image, error) {
	if path, ok := strings.CutPrefix(o.Image, "file://"); ok {
		return d.fileImage(ctx, s, path)
	}
	if img, known, err := d.clusterImage(ctx, s, o.Image, cmp.Or(o.PullTimeout, d.cfg.Pulls.timeout())); known || err != nil {
		return img, err
	}
	return d.registryImage(ctx, s, o, refresh)
}

// registryImage finds an image that has a registry's name.
func (d *Driver) registryImage(ctx context.Context, s *session, o options, refresh bool) (client.Image, error) {
	named, err := reference.ParseDockerRef(o.Image)
	if err != nil {
		return nil, fmt.Errorf("read image name %q: %w: %w", o.Image, runtime.ErrNotRetryable, err)
	}
	ref := named.String()
	local, err := localImage(ctx, s, ref)
	if err != nil {
		return nil, err
	}
	tagged, _ := named.(reference.Tagged)
	floating := tagged != nil && tagged.Tag() == "latest"
	if local != nil && !(refresh && (o.ForcePull || floating)) {
		return local, nil
	}
	img, err := d.pullShared(ctx, s, named, o)
	if err != nil && local != nil && !o.ForcePull && !errors.Is(err, runtime.ErrNotRetryable) && ctx.Err() == nil {
		d.log.Warn("cannot ask the registry for a newer image, the one at hand is used", "image", ref, "error", err)
		return local, nil
	}
	return img, err
}

// localImage is the image when it is here and usable, nil when not.
func localImage(ctx context.Context, s *session, name string) (client.Image, error) {
	img, err := s.GetImage(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, explain(err, "look for image %s", name)
	}
	if ok, err := img.IsUnpacked(ctx, s.snapshotter); err == nil && ok {
		return img, nil
	}
	// Half of it may be missing: somebody stopped a pull, or removed content. Then it is fetched again.
	if err := img.Unpack(ctx, s.snapshotter); err != nil {
		if isAway(err) {
			return nil, explain(err, "unpack image %s", name)
		}
		return nil, nil
	}
	return img, nil
}

func (d *Driver) fileImage(ctx context.Context, s *session, path string) (client.Image, error) {
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("read image name file://%s: %w: the path must be absolute", path, runtime.ErrNotRetryable)
	}
	sum, err := d.hashes.sum(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("image file %s is not on this node: %w", path, runtime.ErrNotRetryable)
	}
	if err != nil {
		return nil, fmt.Errorf("read image file %s: %w", path, err)
	}
	name := fileImages + sum
	if img, err := localImage(ctx, s, name); img != nil || err != nil {
		return img, err
	}
	return d.share(ctx, name, func(ctx context.Context) (client.Image, error) {
		return importFile(ctx, s, path, name)
	})
}

// importFile loads a docker archive or an OCI layout, compressed or not. The names inside are not taken over: a file must not
// decide what a registry's name means on this node.
func importFile(ctx context.Context, s *session, path, name string) (client.Image, error) {
	f, err := openImage(path)
	if err != nil {
		return nil, fmt.Errorf("read image file: %w", err)
	}
	defer f.Close()
	ctx, release, err := s.WithLease(ctx) // else the garbage collector may take what has no name yet
	if err != nil {
		return nil, explain(err, "import image file %s", path)
	}
	defer func() { _ = release(ctx) }() // it expires anyway
	in := &importStore{Store: s.ContentStore(), prefix: fileRefs + uuid.NewString() + "-"}
	target, err := importIndex(ctx, in, f)
	if err != nil {
		in.abort(context.WithoutCancel(ctx))
		return nil, explain(err, "import image file %s", path)
	}
	_, err = s.ImageService().Create(ctx, images.Image{Name: name, Target: target})
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return nil, explain(err, "import image file %s", path)
	}
	img, err := s.GetImage(ctx, name)
	if err == nil {
		err = img.Unpack(ctx, s.snapshotter)
	}
	return img, explain(err, "unpack image file %s", path)
}

// importIndex stores the file's content and returns the one image in it that runs here.
func importIndex(ctx context.Context, cs *importStore, r io.Reader) (ocispec.Descriptor, error) {
	index, err := readArchive(ctx, cs, r)
	if err != nil {
		return index, err
	}
	platform := platforms.Default()
	mark := images.SetChildrenLabels(cs, images.FilterPlatforms(images.ChildrenHandler(cs), platform))
	if err := images.WalkNotEmpty(ctx, mark, index); err != nil {
		return index, noPlatform(err)
	}
	found, err := distinctManifests(ctx, cs, index, platform)
	if err != nil {
		return index, err
	}
	if found > 1 {
		return index, fmt.Errorf("%w: it holds %d images; save one per file", runtime.ErrNotRetryable, found)
	}
	if _, err := images.Manifest(ctx, cs, index, platform); err != nil {
		return index, noPlatform(err)
	}
	return index, nil
}

func noPlatform(err error) error {
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("%w: it holds no image for %s: %w", runtime.ErrNotRetryable, platforms.DefaultString(), err)
	}
	return err
}

// distinctManifests counts the images at the top of an index that would run here.
func distinctManifests(ctx context.Context, cs content.Provider, index ocispec.Descriptor, m platforms.MatchComparer) (int, error) {
	children, err := images.Children(ctx, cs, index)
	if err != nil {
		return 0, err
	}
	seen := map[string]bool{}
	for _, c := range children {
		if images.IsManifestType(c.MediaType) && (c.Platform == nil || m.Match(*c.Platform)) {
			seen[c.Digest.String()] = true
		}
	}
	return len(seen), nil
}

// share runs fetch once for all who ask for key meanwhile. The work does not end because one of them gives up.
func (d *Driver) share(ctx context.Context, key string, fetch func(context.Context) (client.Image, error)) (client.Image, error) {
	ch := d.fetches.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		defer context.AfterFunc(d.ctx, cancel)()
		return fetch(ctx)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(client.Image), nil
	}
}

// hashCache remembers the hashes of files that have not changed since.
type hashCache struct {
	mu    sync.Mutex
	known map[fileState]string
}

type fileState struct {
	path  string
	inode uint64
	size  int64
	mtime int64
	ctime int64
}

const maxHashes = 256

// openImage opens an image file without waiting: a pipe of that name must not hold up the task for ever.
func openImage(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

func (h *hashCache) sum(path string) (string, error) {
	f, err := openImage(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() {
		return "", fmt.Errorf("%w: it is not a regular file", runtime.ErrNotRetryable)
	}
	key := fileState{path: path, size: fi.Size(), mtime: fi.ModTime().UnixNano()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		key.inode, key.ctime = st.Ino, st.Ctim.Nano()
	}
	h.mu.Lock()
	sum, ok := h.known[key]
	h.mu.Unlock()
	if ok {
		return sum, nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", err
	}
	sum = hex.EncodeToString(hash.Sum(nil))
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known == nil || len(h.known) >= maxHashes {
		h.known = map[fileState]string{}
	}
	h.known[key] = sum
	return sum, nil
}
