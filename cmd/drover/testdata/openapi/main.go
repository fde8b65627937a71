// Command openapi-client lists jobs with a client that oapi-codegen made of /v1/openapi.json. The test of package main generates,
// builds and runs it.
package main

import (
	"context"
	"fmt"
	"os"

	"openapi-client/drover"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(addr string) error {
	c, err := drover.NewClientWithResponses(addr)
	if err != nil {
		return err
	}
	jobs, err := c.JobListWithResponse(context.Background(), &drover.JobListParams{})
	if err != nil {
		return err
	}
	if jobs.JSON200 == nil {
		return fmt.Errorf("list jobs: %s: %s", jobs.Status(), jobs.Body)
	}
	for _, j := range *jobs.JSON200 {
		fmt.Println(j.ID, j.Type, j.Priority)
	}
	return nil
}
