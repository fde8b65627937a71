package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// ImageGC says when images go that no container uses. The zero value keeps all.
type ImageGC struct {
	Enabled     bool
	Delay       time.Duration // since an image was last used; 0 means that age alone removes none
	DiskPercent int           // of the disk's use, above which the longest unused go at once; 0 means never
}

const (
	// labelUsed, on an image, is when a container of it was last seen, or its name last asked for.
	labelUsed = "drover.used"
	// imageGrace is how long an image that was just asked for stays whatever the disk says: its container is about to be made.
	imageGrace = 5 * time.Minute
	// stampEvery bounds how often an image's use is written down.
	stampEvery = time.Minute
	tidyTime   = 5 * time.Minute
	// leftOver is how long a download lies still before it counts as given up: the next attempt begins anew then.
	leftOver = 2 * time.Hour
)

// markUsed remembers that an image was asked for. Without the mark its age counts from its download: that is no reason to fail.
func (d *Driver) markUsed(ctx context.Context, s *session, img images.Image) {
	now := time.Now()
	if now.Sub(usedAt(img)) < stampEvery && img.Labels[labelUsed] != "" {
		return
	}
	mark := images.Image{Name: img.Name, Labels: map[string]string{labelUsed: now.UTC().Format(time.RFC3339)}}
	if _, err := s.ImageService().Update(ctx, mark, "labels."+labelUsed); err != nil && !errdefs.IsNotFound(err) {
		d.log.Debug("cannot note that an image is used", "image", img.Name, "error", err)
	}
}

// usedAt is when an image was last of use, as far as anybody knows.
func usedAt(img images.Image) time.Time {
	at := img.UpdatedAt
	if t, err := time.Parse(time.RFC3339, img.Labels[labelUsed]); err == nil && t.After(at) {
		at = t
	}
	return at
}

// Tidy removes the images that nobody needs any more, and what is left of downloads. Never an image that a container is made of, one
// that was just asked for or is being fetched, or one that was imported: no registry has it.
func (d *Driver) Tidy(ctx context.Context) error {
	if !d.cfg.Images.Enabled {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, tidyTime)
	defer cancel()
	s, ctx, err := d.session(ctx)
	if err != nil {
		return err
	}
	return errors.Join(d.tidyImages(ctx, s, time.Now(), diskUse), d.tidyDownloads(ctx, s, time.Now()))
}

// tidyDownloads throws away what downloads of this and earlier lives left half done.
func (d *Driver) tidyDownloads(ctx context.Context, s *session, now time.Time) error {
	left, err := s.ContentStore().ListStatuses(ctx)
	if err != nil {
		return explain(err, "list downloads")
	}
	running := d.pulls.busy()
	var errs []error
	for _, st := range left {
		if running[st.Ref] || now.Sub(st.UpdatedAt) < leftOver {
			continue
		}
		if err := s.ContentStore().Abort(ctx, st.Ref); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, explain(err, "remove the download %s", st.Ref))
			continue
		}
		d.log.Info("removed a download that was given up", "download", st.Ref, "bytes", st.Offset, "still_for", now.Sub(st.UpdatedAt).Round(time.Second))
	}
	held, err := s.LeasesService().List(ctx)
	if err != nil {
		return errors.Join(append(errs, explain(err, "list downloads"))...)
	}
	for _, l := range held { // they keep the parts that were whole
		if !strings.HasPrefix(l.ID, d.pullLeases()) || running[l.ID] || now.Sub(l.CreatedAt) < leftOver {
			continue
		}
		if err := s.LeasesService().Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, explain(err, "end the lease %s of a download", l.ID))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) tidyImages(ctx context.Context, s *session, now time.Time, use func(path string) (int, error)) error {
	idle, err := d.idleImages(ctx, s)
	if err != nil {
		return err
	}
	gc := d.cfg.Images
	full := false
	if gc.DiskPercent > 0 {
		percent, err := use(s.root)
		if err != nil {
			return fmt.Errorf("look at the disk of images, %s: %w", s.root, err)
		}
		full = percent > gc.DiskPercent
	}
	var errs []error
	for _, img := range idle { // the longest unused first
		unused := now.Sub(usedAt(img))
		old := gc.Delay > 0 && unused > gc.Delay
		if unused < imageGrace || !old && !full {
			break // the others were used later still
		}
		if err := s.ImageService().Delete(ctx, img.Name, images.SynchronousDelete()); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, explain(err, "remove image %s", img.Name))
			continue
		}
		d.log.Info("removed an image that is not used", "image", img.Name, "unused_for", unused.Round(time.Second), "disk_full", full)
		if full {
			percent, err := use(s.root)
			full = err == nil && percent > gc.DiskPercent
		}
	}
	return errors.Join(errs...)
}

// idleImages are those that may go, the longest unused first. Those in use are marked.
func (d *Driver) idleImages(ctx context.Context, s *session) ([]images.Image, error) {
	all, err := s.ImageService().List(ctx)
	if err != nil {
		return nil, explain(err, "list images")
	}
	containers, err := s.ContainerService().List(ctx) // of every agent that shares the daemon
	if err != nil {
		return nil, explain(err, "list containers")
	}
	used := map[string]bool{}
	for _, c := range containers {
		used[c.Image] = true
	}
	var idle []images.Image
	for _, img := range all {
		switch _, keep := img.Labels[labelImported]; {
		case used[img.Name]:
			d.markUsed(ctx, s, img)
		case !keep && d.pulls.find(img.Name) == nil: // one that is being pulled anew is about to be used
			idle = append(idle, img)
		}
	}
	slices.SortFunc(idle, func(a, b images.Image) int {
		return cmp.Or(usedAt(a).Compare(usedAt(b)), cmp.Compare(a.Name, b.Name))
	})
	return idle, nil
}

// diskUse is how full the file system of a path is, as df counts.
func diskUse(path string) (percent int, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	used := st.Blocks - st.Bfree
	if used+st.Bavail == 0 {
		return 0, nil
	}
	return int(used * 100 / (used + st.Bavail)), nil
}
