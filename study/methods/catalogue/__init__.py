"""Which methods there are, what options they have, which cannot be trained here; and a method's config."""
