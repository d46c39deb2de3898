"""What workspaces are made from, bundles and templates: the pages that show and import them."""
