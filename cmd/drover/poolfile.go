package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/drover-io/drover/state"
)

// maxPoolFile bounds a node pool's file.
const maxPoolFile = 64 << 10

const poolExample = `# A node pool: a set of machines that jobs name with node_pool = "gpu". A machine belongs to the pool that its agent's
# configuration names: client { node_pool = "gpu" }.
node_pool "gpu" {
  description = "machines with GPUs"

  meta {
    team = "research"
  }

  # What counts for the pool's jobs instead of the cluster's setting (drover operator scheduler get-config).
  scheduler_config {
    scheduler_algorithm             = "spread" # or "binpack"
    memory_oversubscription_enabled = false
  }
}
`

// poolFile is what a node pool's file may hold.
type poolFile struct {
	Pools []struct {
		Name        string            `hcl:"name,label"`
		Description string            `hcl:"description,optional"`
		MetaMap     map[string]string `hcl:"meta,optional"`
		Meta        *struct {
			Rest hcl.Body `hcl:",remain"`
		} `hcl:"meta,block"`
		Scheduler *struct {
			Algorithm     string `hcl:"scheduler_algorithm,optional"`
			Oversubscribe *bool  `hcl:"memory_oversubscription_enabled,optional"`
		} `hcl:"scheduler_config,block"`
	} `hcl:"node_pool,block"`
}

// readPool reads a node pool from a file, or from the standard input when path is "-".
func (a *app) readPool(path string) (*state.NodePool, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(a.in, maxPoolFile+1))
	} else {
		data, err = readFileBounded(path, maxPoolFile)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the node pool: %w; `drover node pool init` writes an example", err)
	case len(data) > maxPoolFile:
		return nil, fmt.Errorf("read the node pool: more than %d bytes", maxPoolFile)
	}
	pool, err := parsePool(path, data, bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")))
	if err != nil && strings.Contains(err.Error(), "\n") {
		return nil, fmt.Errorf("read the node pool:\n%w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the node pool: %w", err)
	}
	if err := pool.Validate(); err != nil {
		return nil, fmt.Errorf("node pool %q: %w", pool.Name, err)
	}
	return pool, nil
}

func parsePool(name string, data []byte, asJSON bool) (*state.NodePool, error) {
	if asJSON {
		pool := new(state.NodePool)
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		return pool, dec.Decode(pool)
	}
	parsed, diags := hclparse.NewParser().ParseHCL(data, name)
	var file poolFile
	if !diags.HasErrors() {
		diags = gohcl.DecodeBody(parsed.Body, nil, &file)
	}
	if diags.HasErrors() {
		return nil, poolProblems(diags)
	}
	if len(file.Pools) != 1 {
		return nil, errors.New("want one node_pool block in the file; `drover node pool init` writes an example")
	}
	p := file.Pools[0]
	pool := &state.NodePool{Name: p.Name, Description: p.Description, Meta: p.MetaMap}
	if p.Meta != nil {
		attrs, diags := p.Meta.Rest.JustAttributes()
		pool.Meta = map[string]string{}
		for key, attr := range attrs {
			var v string
			diags = append(diags, gohcl.DecodeExpression(attr.Expr, nil, &v)...)
			pool.Meta[key] = v
		}
		if diags.HasErrors() {
			return nil, poolProblems(diags)
		}
	}
	if p.Scheduler != nil {
		pool.SchedulerConfiguration = &state.NodePoolSchedulerConfig{
			SchedulerAlgorithm: p.Scheduler.Algorithm, MemoryOversubscriptionEnabled: p.Scheduler.Oversubscribe,
		}
	}
	return pool, nil
}

// poolProblems are the parser's errors, one a line, each with its place.
func poolProblems(diags hcl.Diagnostics) error {
	var lines []string
	for _, d := range diags {
		at := ""
		if d.Subject != nil {
			at = fmt.Sprintf("%s:%d:%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column)
		}
		lines = append(lines, at+lowerFirst(d.Summary)+": "+d.Detail)
	}
	return errors.New(strings.Join(lines, "\n") + "\n  `drover node pool init` writes an example.")
}

func lowerFirst(s string) string { return strings.ToLower(s[:min(1, len(s))]) + s[min(1, len(s)):] }
