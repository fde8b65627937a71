package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// apiOptions are the flags of `operator api`.
type apiOptions struct {
	method  string
	headers []string
	data    string
	filter  string
	dryRun  bool
	verbose bool
}

// maxAPIBody bounds what `operator api` reads to send, in bytes.
const maxAPIBody = 64 << 20

func newOperatorAPI(a *app) *cobra.Command {
	var o apiOptions
	cmd := &cobra.Command{
		Use:   "api <path>",
		Short: "Send a request to the API, as curl would, with the command line's address and token",
		Long: `Send a request to the API with the address, token, namespace and region that the command line would use, and print the answer. With a
body (-d) it is a PUT unless -X says otherwise. "-d @file" and "-d -" read the body.

Exit code 0: the API answered 2xx. 1: it did not.`,
		Example:    "  drover operator api /v1/jobs\n  drover operator api -X DELETE '/v1/job/hello?purge=true'\n  drover operator api --dryrun /v1/nodes",
		SuggestFor: []string{"curl", "request", "raw"},
		Args:       arguments(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd, a, args[0])
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&o.method, "method", "X", "", "HTTP `method` (default GET, with a body PUT)")
	fs.StringArrayVarP(&o.headers, "header", "H", nil, "`header` to send, \"Name: value\" (repeat for more)")
	fs.StringVarP(&o.data, "data", "d", "", "`body` to send; @file reads it from a file, - from the standard input")
	fs.StringVar(&o.filter, "filter", "", "`expression` that items of a list must fulfil")
	fs.BoolVar(&o.dryRun, "dryrun", false, "print the curl command that would do it, and do nothing")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "the answer's status and headers too, on the error stream")
	return cmd
}

func (o apiOptions) run(cmd *cobra.Command, a *app, path string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	req, err := o.request(cmd, a, c, path)
	if err != nil {
		return err
	}
	if o.dryRun {
		_, err := fmt.Fprintln(a.out, curlLine(req, o.data))
		return err
	}
	res, err := c.RawDo(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	if o.verbose {
		fmt.Fprintf(a.err, "%s %s\n", res.Proto, res.Status)
		for _, name := range sortedKeys(res.Header) {
			fmt.Fprintf(a.err, "%s: %s\n", name, strings.Join(res.Header[name], ", "))
		}
	}
	if _, err := io.Copy(a.out, res.Body); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return coded{fmt.Errorf("%s %s answered %s", req.Method, req.URL.Path, res.Status), exitError}
	}
	return nil
}

// request makes what is to be sent.
func (o apiOptions) request(cmd *cobra.Command, a *app, c *api.Client, path string) (*http.Request, error) {
	body, err := o.body(cmd, a)
	if err != nil {
		return nil, err
	}
	method := strings.ToUpper(o.method)
	switch {
	case method == "" && body != nil:
		method = http.MethodPut
	case method == "":
		method = http.MethodGet
	}
	if path, err = o.path(path); err != nil {
		return nil, err
	}
	header := http.Header{}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("header %q is not \"Name: value\"", h)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return c.RawRequest(cmd.Context(), method, path, header, body)
}

// path is the API's path, with --filter in its query. Whole URLs are for the shell's convenience: the agent is --address's.
func (o apiOptions) path(path string) (string, error) {
	u, err := url.Parse(path)
	if err != nil {
		return "", fmt.Errorf("parse path: %w", err)
	}
	if u.Host != "" {
		return "", fmt.Errorf("give the path alone, %s, and the agent with --address %s://%s", u.RequestURI(), u.Scheme, u.Host)
	}
	if !strings.HasPrefix(u.Path, "/") {
		u.Path = "/" + u.Path
	}
	if !strings.HasPrefix(u.Path, "/v1/") {
		u.Path = "/v1" + u.Path
	}
	if o.filter != "" {
		q := u.Query()
		q.Set("filter", o.filter)
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// body opens what is to be sent, nil for nothing.
func (o apiOptions) body(cmd *cobra.Command, a *app) ([]byte, error) {
	switch {
	case !cmd.Flags().Changed("data"):
		return nil, nil
	case o.data == "-":
		return io.ReadAll(io.LimitReader(a.in, maxAPIBody))
	case strings.HasPrefix(o.data, "@"):
		return readFileBounded(o.data[1:], maxAPIBody)
	}
	return []byte(o.data), nil
}

// curlLine is the curl command that sends a request. The token stands there by the name of its variable.
func curlLine(req *http.Request, data string) string {
	words := []string{"curl", "-X", req.Method}
	for _, name := range sortedKeys(req.Header) {
		for _, v := range req.Header[name] {
			if name == api.TokenHeader {
				words = append(words, "-H", `"`+name+`: $DROVER_TOKEN"`)
				continue
			}
			words = append(words, "-H", quote(name+": "+v))
		}
	}
	if req.Body != nil && data != "" {
		if data == "-" {
			data = "@-"
		}
		words = append(words, "--data-binary", quote(data))
	}
	return strings.Join(append(words, quote(req.URL.String())), " ")
}

func newOperatorMetrics(a *app) *cobra.Command {
	var s shape
	var ref agentRef
	var prometheus bool
	var form string
	cmd := &cobra.Command{
		Use:     "metrics",
		Short:   "Print an agent's metrics",
		Example: "  drover operator metrics\n  drover operator metrics --json --node m3\n  drover operator metrics --format prometheus",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			who, err := ref.ref()
			if err != nil {
				return err
			}
			prometheus = form == "prometheus"
			if !prometheus && form != "" {
				return fmt.Errorf("--format %s: there is prometheus only; --json prints JSON", form)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if prometheus {
				return copyMetrics(cmd, a, c, who)
			}
			return printMetrics(cmd.Context(), a, c, who, s)
		},
	}
	s.addFlags(cmd)
	ref.addFlags(cmd, a)
	cmd.Flags().StringVar(&form, "format", "", "prometheus: as Prometheus takes them")
	cmd.Flags().Bool("pretty", false, "accepted for scripts; JSON is always indented")
	return cmd
}

func copyMetrics(cmd *cobra.Command, a *app, c *api.Client, who api.AgentRef) error {
	r, err := c.MetricsOf(cmd.Context(), who, "prometheus")
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // read to its end
	_, err = io.Copy(a.out, r)
	return err
}
