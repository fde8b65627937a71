package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// pinning is what the user wants of the tags of a job's images.
type pinning struct {
	mode string
	off  bool
}

func (p *pinning) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.mode, "pin", api.PinAuto, "make digests of the tags of images: auto, required (a tag that nobody can resolve is an error) or off")
	cmd.Flags().BoolVar(&p.off, "no-pin", false, "leave tags as they are, the same as --pin=off")
	cmd.MarkFlagsMutuallyExclusive("pin", "no-pin")
	_ = cmd.RegisterFlagCompletionFunc("pin", cobra.FixedCompletions([]string{api.PinAuto, api.PinRequired, api.PinOff}, cobra.ShellCompDirectiveNoFileComp))
}

// arguments are what a command line repeats to pin the same way.
func (p *pinning) arguments() []string {
	switch {
	case p.off:
		return []string{"-no-pin"}
	case p.mode != api.PinAuto:
		return []string{"-pin=" + p.mode}
	}
	return nil
}

// apply makes digests of the job's tags: by the cluster's word for imported images, else by their registries', which the agent asks.
// A tag that nobody can resolve stays, with a warning, unless digests are required. It returns what to send with the job.
func (p *pinning) apply(ctx context.Context, a *app, c *api.Client, job *state.Job) (mode string, pins []api.ImagePin, err error) {
	mode = p.mode
	if p.off {
		mode = api.PinOff
	}
	var questions []api.ImageQuestion
	asked := map[string]int{}
	api.PinImages(job, func(image string, t *state.Task) (string, bool) {
		if _, twice := asked[image]; !twice {
			asked[image] = len(questions)
			questions = append(questions, api.ImageQuestion{Image: image, Auth: authOf(t)})
		}
		return "", false
	})
	if len(questions) == 0 {
		return mode, nil, nil
	}
	if mode == api.PinOff {
		for _, q := range questions {
			fmt.Fprintf(a.err, "Image %s keeps its tag (--no-pin): each machine runs what it means when a copy starts there.\n", q.Image)
		}
		return mode, nil, nil
	}
	answers, err := c.ResolveImages(ctx, questions)
	if err != nil {
		return mode, nil, err
	}
	for _, x := range answers {
		if x.Digest == "" && mode != api.PinRequired {
			fmt.Fprintf(a.err, "Warning: image %s keeps its tag, its digest is not known: %s\n", x.Image, x.Error)
		}
		if x.Digest == "" && mode == api.PinRequired {
			return mode, nil, fmt.Errorf("image %s: its digest is not known: %s", x.Image, x.Error)
		}
	}
	pins = api.PinImages(job, func(image string, _ *state.Task) (string, bool) {
		return answers[asked[image]].Digest, answers[asked[image]].Imported
	})
	return mode, pins, nil
}

// register registers a job whose tags became digests.
func (p *pinning) register(ctx context.Context, a *app, c *api.Client, req *api.JobRegisterRequest) (*api.JobRegisterResponse, error) {
	mode, pins, err := p.apply(ctx, a, c, req.Job)
	if err != nil {
		return nil, err
	}
	req.Pin = mode
	resp, err := c.RegisterJob(ctx, req, api.WriteOptions{Namespace: req.Job.Namespace})
	if err == nil {
		resp.Pins = append(pins, resp.Pins...)
	}
	return resp, err
}

// authOf is the login of a task's registry, as a job file has it.
func authOf(t *state.Task) map[string]any {
	switch auth := t.Config["auth"].(type) {
	case map[string]any:
		return auth
	case []any:
		if len(auth) == 1 {
			one, _ := auth[0].(map[string]any)
			return one
		}
	case []map[string]any:
		if len(auth) == 1 {
			return auth[0]
		}
	}
	return nil
}

// writePins says which tags became digests, each image once.
func writePins(w io.Writer, pins []api.ImagePin) {
	said := map[string]bool{}
	for _, p := range pins {
		if said[p.Image] {
			continue
		}
		said[p.Image] = true
		from := "its registry says"
		if p.Imported {
			from = "imported"
		}
		fmt.Fprintf(w, "Image %s is %s (%s).\n", p.Image, state.ShortDigest(p.Digest), from)
	}
}

// imageDiff is a changed image as people compare it: its name once, and the digests; "" for any other change.
func imageDiff(d state.DiffLine) string {
	if !strings.HasSuffix(d.Path, ".config.image") {
		return ""
	}
	oldName, oldDigest, was := strings.Cut(d.Old, "@")
	newName, newDigest, is := strings.Cut(d.New, "@")
	switch {
	case !was && !is:
		return ""
	case oldName == newName && was && is:
		return fmt.Sprintf("%s (%s => %s)", newName, state.ShortDigest(oldDigest), state.ShortDigest(newDigest))
	}
	shown := func(name, digest string) string {
		if digest == "" {
			return name
		}
		return fmt.Sprintf("%s (%s)", name, state.ShortDigest(digest))
	}
	return shown(oldName, oldDigest) + " => " + shown(newName, newDigest)
}
