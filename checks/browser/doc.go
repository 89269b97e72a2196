// Package browser tests in headless Chromium what this module shows a person.
// All of it is tests.
package browser
