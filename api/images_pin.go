package api

import (
	"strings"

	"github.com/drover-io/drover/state"
)

// How the tags of a job's images are treated when it is registered or planned.
const (
	PinAuto     = "auto"     // tags of imported images become digests; the others are left as they are
	PinRequired = "required" // a tag that has no digest is an error
	PinOff      = "off"      // tags stay tags
)

// ImagePin is one image of a job whose tag was made a digest.
type ImagePin struct {
	TaskGroup string
	Task      string
	Image     string // as the job has it
	Digest    string
	Imported  bool // by the cluster's word; else a registry's
}

// PinImages replaces the tags of a job's images by what resolve says: app:1 becomes app:1@sha256:…. Images that it answers ""
// for, files, and names that are known only when a task starts are left alone. The job is changed.
func PinImages(job *state.Job, resolve func(image string, task *state.Task) (digest string, imported bool)) []ImagePin {
	var pins []ImagePin
	for i := range job.TaskGroups {
		g := &job.TaskGroups[i]
		for k := range g.Tasks {
			t := &g.Tasks[k]
			text, ok := t.TaskImage()
			if !ok {
				continue
			}
			ref, err := state.ParseImage(text)
			if err != nil || ref.Digest != "" {
				continue
			}
			digest, imported := resolve(text, t)
			if digest == "" {
				continue
			}
			t.Config["image"] = tagged(text) + "@" + digest
			pins = append(pins, ImagePin{TaskGroup: g.Name, Task: t.Name, Image: text, Digest: digest, Imported: imported})
		}
	}
	return pins
}

// tagged says the tag that a name without one means.
func tagged(image string) string {
	if strings.Contains(image[strings.LastIndexByte(image, '/')+1:], ":") {
		return image
	}
	return image + ":latest"
}

// pin makes digests of the tags of imported images.
func pin(snap *state.Snapshot, job *state.Job, mode string) ([]ImagePin, error) {
	switch mode {
	case PinOff:
		return nil, nil
	case "", PinAuto, PinRequired:
	default:
		return nil, NewError(CodeInvalid, "", "Pin is %q: want %q, %q or %q", mode, PinAuto, PinRequired, PinOff)
	}
	pins := PinImages(job, func(image string, _ *state.Task) (string, bool) {
		ref, err := state.ParseImage(image)
		if err != nil {
			return "", false
		}
		if img := snap.FindImage(ref); img != nil {
			return img.Digest, true
		}
		return "", false
	})
	if mode != PinRequired {
		return pins, nil
	}
	var left error
	PinImages(job, func(image string, t *state.Task) (string, bool) {
		if left == nil {
			left = NewError(CodeInvalid, "import it, write it with its digest, or leave its tag with --pin=auto",
				"image %q of task %q has no digest: it was not imported, and its registry did not say", image, t.Name)
		}
		return "", false
	})
	return pins, left
}
