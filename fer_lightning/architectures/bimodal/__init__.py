"""Li et al., Bi-modality fusion for emotion recognition in the wild, ICMI 2019."""
