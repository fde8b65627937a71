package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// applyOptions are the flags of `apply`.
type applyOptions struct {
	file      jobFile
	pin       pinning
	paths     []string
	recursive bool
	prune     bool
	dryRun    bool
	wait      bool
	yes       bool
	timeout   time.Duration
}

func newApply(a *app) *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply -f <path>",
		Short: "Run every job file of a directory, and with --prune stop the jobs that have none",
		Long: `Run every job file (*.hcl, *.nomad, *.json) of a directory, or single files. Nothing is registered unless all of them are valid.

With --prune the jobs of the namespaces that the files name, or of --namespace, that none of the files describes are stopped, after
asking. Exit code 0: done. 1: an error, or with --wait a job whose copies do not run.`,
		Example: "  drover apply -f jobs/\n  drover apply -f jobs/ --prune --dry-run\n  drover apply -f web.hcl -f db.hcl --wait",
		Args:    arguments(0, 100),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.paths = append(o.paths, args...)
			if len(o.paths) == 0 {
				return fmt.Errorf("name a directory or files with -f\n  `%s --help` has examples", cmd.CommandPath())
			}
			return o.apply(cmd.Context(), a)
		},
	}
	o.file.addFlags(cmd)
	o.pin.addFlags(cmd)
	fs := cmd.Flags()
	fs.StringArrayVarP(&o.paths, "filename", "f", nil, "directory or `file`, - for the standard input (repeat for more)")
	fs.BoolVarP(&o.recursive, "recursive", "R", false, "directories below too")
	fs.BoolVar(&o.prune, "prune", false, "stop the jobs that no file describes")
	fs.BoolVar(&o.dryRun, "dry-run", false, "say what would happen, changing nothing")
	fs.BoolVar(&o.wait, "wait", false, "follow each job until its copies run")
	fs.BoolVarP(&o.yes, "yes", "y", false, "stop jobs without asking")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "with --wait how long to wait for each job")
	return cmd
}

func (o *applyOptions) apply(ctx context.Context, a *app) error {
	jobs, err := o.read(a)
	if err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if err := o.one(ctx, a, c, job); err != nil {
			return fmt.Errorf("apply job %q: %w", job.ID, err)
		}
	}
	if o.prune {
		return o.stopOthers(ctx, a, c, jobs)
	}
	return nil
}

// read reads every file. All are read although some are wrong: their mistakes are said at once.
func (o *applyOptions) read(a *app) ([]*state.Job, error) {
	files, err := o.files()
	if err != nil {
		return nil, err
	}
	var jobs []*state.Job
	from := map[string]string{}
	var wrong []string
	for _, path := range files {
		job, err := o.file.parse(a, path)
		var said exitCode
		if errors.As(err, &said) {
			wrong = append(wrong, path)
			continue
		}
		if err != nil {
			return nil, err
		}
		key := job.Namespace + "/" + job.ID
		if first := from[key]; first != "" {
			return nil, fmt.Errorf("job %q is described by %s and by %s: nothing was done", job.ID, first, path)
		}
		from[key] = path
		jobs = append(jobs, job)
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("nothing was done: %s", strings.Join(wrong, ", "))
	}
	return jobs, nil
}

// files are the job files that the paths name, in order.
func (o *applyOptions) files() ([]string, error) {
	var out []string
	for _, path := range o.paths {
		info, err := os.Stat(path)
		if path == "-" || err == nil && !info.IsDir() {
			out = append(out, path)
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := jobFilesIn(path, o.recursive)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s has no job files: they are named *.hcl, *.nomad or *.json", path)
		}
		out = append(out, found...)
	}
	return out, nil
}

// jobFilesIn are the job files of a directory, hidden ones left out.
func jobFilesIn(dir string, recursive bool) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(d.Name(), "."), d.IsDir() && path != dir && !recursive:
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		ext := filepath.Ext(path)
		if !d.IsDir() && (ext == ".hcl" || ext == ".nomad" || ext == ".json") {
			out = append(out, path)
		}
		return nil
	})
	sort.Strings(out)
	return out, err
}

// one registers a job, or says what that would do.
func (o *applyOptions) one(ctx context.Context, a *app, c *api.Client, job *state.Job) error {
	if o.dryRun {
		mode, _, err := o.pin.apply(ctx, a, c, job)
		if err != nil {
			return err
		}
		view, err := c.PlanJobAs(ctx, &api.JobPlanRequest{Job: job, Pin: mode}, api.QueryOptions{Namespace: job.Namespace})
		if err != nil {
			return err
		}
		word := "would be updated"
		switch {
		case view.JobModifyIndex == 0:
			word = "would be created"
		case len(view.Diff) == 0:
			word = "is unchanged"
		}
		fmt.Fprintf(a.out, "Job %q %s.\n", job.ID, word)
		for _, g := range view.Groups {
			fmt.Fprintf(a.out, "  group %q: %s\n", g.TaskGroup, groupPlanWords(g))
		}
		return nil
	}
	started := time.Now()
	resp, err := o.pin.register(ctx, a, c, &api.JobRegisterRequest{Job: job})
	if err != nil {
		return err
	}
	for _, w := range resp.Warnings {
		fmt.Fprintln(a.err, "Warning:", w)
	}
	sayRegistered(a.out, resp)
	if !o.wait {
		return nil
	}
	f := following{timeout: o.timeout}
	return f.follow(ctx, a, c, resp, started)
}

// stopOthers stops the jobs that no file describes.
func (o *applyOptions) stopOthers(ctx context.Context, a *app, c *api.Client, jobs []*state.Job) error {
	described, namespaces := map[string]bool{}, map[string]bool{}
	for _, j := range jobs {
		described[j.Namespace+"/"+j.ID], namespaces[j.Namespace] = true, true
	}
	if ns := a.inNamespace(); ns != "" {
		namespaces[ns] = true
	}
	var others []api.JobListItem
	for _, ns := range sortedKeys(namespaces) {
		list, _, err := api.All(ctx, c.Jobs, api.QueryOptions{Namespace: ns})
		if err != nil {
			return err
		}
		for _, j := range list {
			if !j.Stop && !described[j.Namespace+"/"+j.ID] {
				others = append(others, j)
			}
		}
	}
	if len(others) == 0 {
		_, err := fmt.Fprintln(a.out, "No other job to stop.")
		return err
	}
	for _, j := range others {
		fmt.Fprintf(a.out, "Job %q (namespace %s) has no file.\n", j.ID, j.Namespace)
	}
	if o.dryRun {
		_, err := fmt.Fprintf(a.out, "%s would be stopped.\n", plural(len(others), "job"))
		return err
	}
	if !o.yes {
		if err := a.confirm(bufio.NewReader(a.in), fmt.Sprintf("Stop %s?", plural(len(others), "job"))); err != nil {
			return err
		}
	}
	for _, j := range others {
		if _, err := c.StopJob(ctx, j.ID, false, api.WriteOptions{Namespace: j.Namespace}); err != nil {
			return err
		}
		fmt.Fprintf(a.out, "Job %q is asked to stop.\n", j.ID)
	}
	return nil
}
